"""A path, a moment, and one call that checks revocation, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from tsa_core.paths.building import Path, PathBuilder
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.evidence import NamedBytes
from tsa_core.paths.findings import RevocationFinding
from tsa_core.paths.revocation import Revocation
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Extension, Issued, issue, make_chain, signer_extensions
from tsa_core.testing.forged_revocation import crl, entry

CHAIN = make_chain()
GEN_TIME = forge.GEN_TIME
DAY = timedelta(days=1)
NOW = GEN_TIME + 100 * DAY
"""The moment of verification in these tests."""
RECENTLY = NOW - DAY


def path_of(signer: Issued, *issuers: Issued) -> Path:
    """Return the path of a signer; without `issuers`, by the chain's intermediate to its root."""
    *intermediates, root = map(prepared, issuers or (CHAIN.intermediate, CHAIN.root))
    return PathBuilder((root,), intermediates).build(prepared(signer), (), GEN_TIME)


def prepared(issued: Issued) -> PathCertificate:
    return PathCertificate(issued.certificate)


def check(
    *crls: NamedBytes,
    ocsp: Iterable[NamedBytes] = (),
    path: Path | None = None,
    at: datetime = NOW,
    latest: datetime | None = None,
    pool: Sequence[Issued] = (),
    **settings: Any,
) -> tuple[RevocationFinding, ...]:
    """Check the path of the chain's signer, or another, at NOW or another moment."""
    return Revocation.from_files(crls, ocsp, **settings).check(
        path if path is not None else path_of(CHAIN.signer),
        GEN_TIME,
        latest=latest,
        at=at,
        certificates=tuple(map(prepared, pool)),
    )


CA, SIGNER = CHAIN.intermediate, CHAIN.signer
KEY_COMPROMISE, SUPERSEDED, HOLD, REMOVE = 1, 4, 6, 8
BEFORE, AFTER = GEN_TIME - DAY, GEN_TIME + DAY
COMPROMISED = entry(SIGNER, AFTER, KEY_COMPROMISE)
URL = x509.UniformResourceIdentifier("http://crl.example/1")


def good(**settings: Any) -> bytes:
    settings.setdefault("this_update", RECENTLY)
    return crl(CA, **settings)


def revoking(*entries: bytes, **settings: Any) -> bytes:
    settings.setdefault("this_update", RECENTLY)
    return crl(CA, *(entries or (COMPROMISED,)), **settings)


def pointed(*points: x509.DistributionPoint, **arguments: Any) -> Issued:
    """Return a signer with these distribution points."""
    extensions: tuple[Extension, ...] = (*signer_extensions(), (x509.CRLDistributionPoints(points), False))
    return issue("Pointed", issuer=CA, extensions=extensions, **arguments)
