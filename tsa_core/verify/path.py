"""The certificate path of a timestamp: a signer's certificate for timestamps, and its path (rule V8)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography.x509.oid import ExtendedKeyUsageOID

from tsa_core.paths import building
from tsa_core.paths.algorithms import STRICT, AlgorithmRules
from tsa_core.paths.building import Path
from tsa_core.paths.certificate import PathCertificate, text
from tsa_core.paths.errors import PathError
from tsa_core.paths.validation import Inputs
from tsa_core.protocol.tstinfo_reader import TSTInfo
from tsa_core.verify.signer import check_signer
from tsa_core.verify.trust import TrustStore

__all__ = ["Path", "PathBuilder", "check_made_before", "check_not_after"]

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


def check_made_before(info: TSTInfo, path: Path, time: datetime) -> None:
    """Raise PathError unless a token that is verified for `time` was made by then, under a path that held already.

    `path` is valid at `time`. genTime is another moment, and whoever has the key can state any.
    """
    check_not_after(info, time)
    for certificate in path.certificates:
        certificate.check_time(info.gen_time)


def check_not_after(info: TSTInfo, time: datetime) -> None:
    """Raise PathError for a token that was made after the moment for which it is verified, as far as clocks agree."""
    # Not at the top: most tokens are verified for genTime, and a command would pay for it.
    from tsa_core.paths.statements import MAX_CLOCK_SKEW

    made = info.gen_time
    if (info.earliest or made) > time + MAX_CLOCK_SKEW:
        raise PathError(f"genTime is {text(made)}, after {text(time)}, the moment for which it is to be verified")
