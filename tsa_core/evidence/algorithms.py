"""Which algorithms a timestamp of a record relies on, and until when they are strong by the caller's table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa

from tsa_core.evidence.errors import AlgorithmEnded
from tsa_core.paths.certificate import text
from tsa_core.protocol.hashes import HashAlgorithm
from tsa_core.verify import VerifiedTimestamp

_KEY_KINDS: Final = (
    (rsa.RSAPublicKey, "rsa"),
    (ec.EllipticCurvePublicKey, "ecdsa"),
    (ed25519.Ed25519PublicKey, "ed25519"),
    (ed448.Ed448PublicKey, "ed448"),
    (mldsa.MLDSA44PublicKey, "ml-dsa-44"),
    (mldsa.MLDSA65PublicKey, "ml-dsa-65"),
    (mldsa.MLDSA87PublicKey, "ml-dsa-87"),
)


@dataclass(frozen=True, kw_only=True)
class AlgorithmEnd:
    """The last moment at which an algorithm is strong; `source` says who says so.

    `algorithm` is a hash (`sha256`) or a kind of key (`rsa`, `ecdsa`, `ed25519`, `ed448`, `ml-dsa-65`); with
    `below_bits`, only keys that are shorter end.
    """

    algorithm: str
    until: datetime
    source: str
    below_bits: int | None = None

    def __post_init__(self) -> None:
        if self.until.tzinfo is None:
            raise ValueError("the end of an algorithm must be an aware datetime")

    def __str__(self) -> str:
        bits = f" under {self.below_bits} bits" if self.below_bits is not None else ""
        return f"{self.algorithm}{bits} until {text(self.until)} ({self.source})"


_IR_8547: Final = "NIST IR 8547 ipd (November 2024), table 2"
_SP_800_131A: Final = "NIST SP 800-131A Rev. 3 ipd (October 2024)"


def _end(algorithm: str, year: int, below_bits: int | None = None, source: str = _IR_8547) -> AlgorithmEnd:
    until = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    return AlgorithmEnd(algorithm=algorithm, until=until, source=source, below_bits=below_bits)


PLANNED_ENDS: Final = (
    _end("sha224", 2030, source=_SP_800_131A),
    _end("rsa", 2030, 3072),
    _end("ecdsa", 2030, 256),
    _end("rsa", 2035),
    _end("ecdsa", 2035),
    _end("ed25519", 2035),
    _end("ed448", 2035),
)
"""Ends that NIST has announced in drafts: 112 bits of security after 2030, RSA and elliptic curves after 2035.

`evidence due` heeds them; a verification refuses nothing for them unless it is told to.
"""


class Use(NamedTuple):
    """One use of an algorithm; `bits` is the length of a key, None for a hash."""

    algorithm: str
    bits: int | None
    where: str


def check_ends(uses: Iterable[Use], ends: Iterable[AlgorithmEnd], moment: datetime, whose: str) -> None:
    """Raise AlgorithmEnded for a use whose algorithm was not strong any more at `moment`."""
    ends = tuple(ends)
    for use in uses:
        for end in ends:
            if matches(use, end) and moment > end.until:
                raise AlgorithmEnded(f"{whose} relies on {use.algorithm} in {use.where} at {text(moment)}: {end}")


def matches(use: Use, end: AlgorithmEnd) -> bool:
    """Say whether the end is about this use."""
    return use.algorithm == end.algorithm and (
        end.below_bits is None or (use.bits is not None and use.bits < end.below_bits)
    )


def uses_of(tree: HashAlgorithm, digest_name: str, verdict: VerifiedTimestamp) -> Iterator[Use]:
    """Yield what a verified timestamp over a tree relies on; `digest_name` is the hash of the CMS signature."""
    yield Use(tree.name, None, "the hash tree")
    yield Use(digest_name, None, "the timestamp's signature")
    for position, certificate in enumerate(verdict.path):
        kind, bits = key_of(certificate)
        yield Use(kind, bits, f"the key of {certificate.subject.rfc4514_string()}")
        if position < len(verdict.path) - 1 and (name := signature_hash(certificate)):
            yield Use(name, None, f"the signature on {certificate.subject.rfc4514_string()}")


def key_of(certificate: x509.Certificate) -> tuple[str, int | None]:
    """Return the kind of a certificate's key, and its length in bits where it has one that varies."""
    key = certificate.public_key()
    kind = next((name for type_, name in _KEY_KINDS if isinstance(key, type_)), "unknown")
    return kind, key.key_size if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else None


def signature_hash(certificate: x509.Certificate) -> str | None:
    """Return the hash that a certificate is signed with, None where the signature scheme has its own."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    return algorithm.name.replace("_", "-") if algorithm is not None else None
