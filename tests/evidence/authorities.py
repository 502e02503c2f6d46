"""Authorities of any year: chains whose certificates are valid then, and tokens that state a time in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tsa_core.protocol.hashes import HashAlgorithm
from tsa_core.protocol.signatures import SignatureAlgorithm
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Issued, ca_extensions, issue, name, shared, signer_extensions
from tsa_core.verify import TrustStore

CERTIFICATES_UNTIL = 2080


def at(year: int, month: int = 1, day: int = 1) -> datetime:
    return datetime(year, month, day, 12, tzinfo=UTC)


@dataclass
class Authority:
    """One authority: a root and a signer, certificates from `start` until `end`; it counts what it is asked."""

    title: str
    kind: str = "p256"
    start: datetime = datetime(2020, 1, 1, 12, tzinfo=UTC)
    end: datetime = datetime(2030, 1, 1, 12, tzinfo=UTC)
    hash_: HashAlgorithm | None = None
    algorithm: SignatureAlgorithm | None = None
    digest: hashes.HashAlgorithm | None = None
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    root: Issued = field(init=False)
    signer: Issued = field(init=False)

    def __post_init__(self) -> None:
        until = at(CERTIFICATES_UNTIL)
        self.root = issue(
            name(f"{self.title} Root"), key=shared(self.kind, 1), extensions=ca_extensions(),
            not_before=self.start, not_after=until, digest=self.digest,
        )  # fmt: skip
        self.signer = issue(
            name(f"{self.title} Signer"), issuer=self.root, key=shared(self.kind),
            extensions=(*signer_extensions(), *self.extra), not_before=self.start, not_after=self.end,
            digest=self.digest,
        )  # fmt: skip

    @property
    def trust(self) -> TrustStore:
        return TrustStore(roots=(self.root.certificate,))

    def token(self, algorithm: HashAlgorithm, digest: bytes, time: datetime, *, crls: bytes = b"") -> bytes:
        info = forge.tst_info(digest=digest, hash_algorithm=algorithm, gen_time=time)
        return forge.token(
            self.signer, info, certificates=[self.signer.der], digest=self.hash_,
            algorithm=self.algorithm, crls=crls,
        )  # fmt: skip

    def at(self, time: datetime) -> Callable[[HashAlgorithm, bytes], bytes]:
        """Return what stamps at that time."""

        def stamp(algorithm: HashAlgorithm, digest: bytes) -> bytes:
            self.requests.append((algorithm.name, digest))
            return self.token(algorithm, digest, time)

        return stamp


def trusting(*authorities: Authority) -> TrustStore:
    return TrustStore(roots=tuple(authority.root.certificate for authority in authorities))
