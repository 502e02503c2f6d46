"""Whether certificates of a path were revoked, by the CRLs and OCSP responses at hand (rule V9; RFC 5280 6.3)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

from cryptography import x509
from cryptography.x509 import ocsp

from tsa_core.paths.algorithms import STRICT, AlgorithmRules
from tsa_core.paths.building import Path
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.crl_reader import CertificateList
from tsa_core.paths.errors import RevocationUnknown
from tsa_core.paths.evidence import NamedBytes, prepared_crls, prepared_responses, read_crls, read_ocsp_responses
from tsa_core.paths.findings import RevocationFinding
from tsa_core.paths.ocsp_reader import OCSPResponse
from tsa_core.paths.revocation_check import Enclosed, RevocationCheck
from tsa_core.paths.statements import Moment

MAX_AGE: Final = timedelta(days=7)
"""How old a CRL or OCSP response may be that does not say when it ends."""


class RevocationScope(enum.Enum):
    """Which certificates of the path must be covered; whatever is covered beyond is heeded too."""

    AT_HAND = "at-hand"
    """None: only what is at hand is heeded."""
    SIGNER = "signer"
    PATH = "path"


@dataclass(frozen=True, kw_only=True)
class Revocation:
    """CRLs and OCSP responses to check a path against, and how much of the path they must cover.

    `max_age` limits those that do not say when they end.
    """

    crls: tuple[x509.CertificateRevocationList | CertificateList, ...] = ()
    ocsp_responses: tuple[ocsp.OCSPResponse | OCSPResponse, ...] = ()
    scope: RevocationScope = RevocationScope.SIGNER
    max_age: timedelta = field(default=MAX_AGE)

    def __post_init__(self) -> None:
        if self.max_age <= timedelta(0):
            raise ValueError("the greatest age of a CRL must be longer than nothing")

    @classmethod
    def from_files(
        cls,
        crls: Iterable[NamedBytes] = (),
        ocsp_responses: Iterable[NamedBytes] = (),
        scope: RevocationScope = RevocationScope.SIGNER,
        max_age: timedelta = MAX_AGE,
    ) -> Revocation:
        """Read files: CRLs, PEM with any number of them or DER, and OCSP responses, DER or PEM.

        Each is a path, bytes, an open file, or a pair of a name and bytes; errors and findings tell the name.
        Raises RevocationUnknown for what cannot be read.
        """
        return cls(
            crls=read_crls(crls), ocsp_responses=read_ocsp_responses(ocsp_responses), scope=scope, max_age=max_age
        )

    @cached_property
    def _crls(self) -> tuple[CertificateList, ...]:
        return prepared_crls(self.crls)

    @cached_property
    def _responses(self) -> tuple[OCSPResponse, ...]:
        return prepared_responses(self.ocsp_responses)

    def check(
        self,
        path: Path,
        time: datetime,
        *,
        latest: datetime | None = None,
        at: datetime | None = None,
        certificates: Sequence[PathCertificate] = (),
        enclosed: Enclosed | None = None,
        algorithms: AlgorithmRules = STRICT,
    ) -> tuple[RevocationFinding, ...]:
        """Return what is known of each certificate but the trust anchor, if a token made at `time` is good.

        `latest` is when the token may have been made at the latest, which counts against a revocation. The
        evidence must speak for `at`, which is now unless given. `certificates` may have signed CRLs or OCSP
        responses, or lead to those that did; they carry no trust. `enclosed` is evidence that came with the
        token; `algorithms` is rule V15 for all signatures. A signer that is trusted itself is checked against its
        issuer, if that is at hand.

        Raises CertificateRevoked, or RevocationUnknown when nothing covers what the scope asks for.
        """
        if at is not None and at.tzinfo is None:
            raise TypeError("the moment of verification must be an aware datetime")
        moment = Moment(at=at if at is not None else datetime.now(UTC), max_age=self.max_age)
        check = RevocationCheck(
            crls=self._crls + (enclosed.crls if enclosed is not None else ()),
            responses=self._responses + (enclosed.responses if enclosed is not None else ()),
            problems=enclosed.problems if enclosed is not None else (),
            moment=moment,
            path=path,
            pool=certificates,
            rules=algorithms,
            whole_path=self.scope is RevocationScope.PATH,
        )
        latest = max(time, latest) if latest is not None else time
        findings: list[RevocationFinding] = []
        for position, certificate in enumerate(path.certificates):
            anchor = position == len(path.certificates) - 1
            if anchor and position and certificate.self_issued:
                continue
            finding = check.find(certificate, check.issuer_of(position), latest)
            if anchor and position:
                continue  # trusted as it is; but a word against it has been heard
            required = self.scope is not RevocationScope.AT_HAND and (
                position == 0 or self.scope is RevocationScope.PATH
            )
            if required and not finding.evidence:
                raise RevocationUnknown(finding.detail)
            findings.append(finding)
        return tuple(findings)
