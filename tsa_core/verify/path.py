"""The certificate path of a timestamp: a signer's certificate for timestamps, and its path (rule V8)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography.x509.oid import ExtendedKeyUsageOID

from tsa_core.paths import building
from tsa_core.paths.algorithms import STRICT, AlgorithmRules
from tsa_core.paths.building import Path
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.validation import Inputs
from tsa_core.verify.signer import check_signer
from tsa_core.verify.trust import TrustStore

__all__ = ["Path", "PathBuilder"]

_INPUTS: Final = Inputs(time=building.ANY_TIME, purposes=frozenset({ExtendedKeyUsageOID.TIME_STAMPING}))
"""RFC 3161 demands no policy of a path; a CA that says what its certificates are for must say timeStamping."""


class PathBuilder(building.PathBuilder):
    """Builds the paths of timestamps to the roots of one trust store, with the algorithms that `rules` accept."""

    def __init__(self, trust: TrustStore, rules: AlgorithmRules = STRICT, *, critical: bool = True) -> None:
        super().__init__(trust.prepared_roots, trust.prepared_certificates, _INPUTS.replace(algorithms=rules))
        self._critical = critical

    def build(self, signer: PathCertificate, embedded: Sequence[PathCertificate], time: datetime) -> Path:
        """Return a valid path at `time`; `embedded` are certificates that came with the token.

        Raises a VerificationError of rule V7, V8 or V15 that tells what stopped the most promising attempt.
        """
        check_signer(signer, critical=self._critical)
        return super().build(signer, embedded, time)
