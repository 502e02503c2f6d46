"""Until when algorithms are strong, by ETSI and NIST, and which of them a certificate path relies on.

The one table of planned ends: evidence records, their renewal and the conformance of a running authority ask it. Of
what is weak already, by which old tokens are verified, `verify/tolerances.py` has the ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa

from tsa_core.paths.algorithms import SHA1_UNTIL
from tsa_core.paths.certificate import text
from tsa_core.values import Value

_KEY_KINDS: Final = (
    (rsa.RSAPublicKey, "rsa"),
    (ec.EllipticCurvePublicKey, "ecdsa"),
    (ed25519.Ed25519PublicKey, "ed25519"),
    (ed448.Ed448PublicKey, "ed448"),
    (mldsa.MLDSA44PublicKey, "ml-dsa-44"),
    (mldsa.MLDSA65PublicKey, "ml-dsa-65"),
    (mldsa.MLDSA87PublicKey, "ml-dsa-87"),
)


class AlgorithmEnd(Value):
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


_TS_119_312: Final = "ETSI TS 119 312 V2.1.1 (2026-06), clause 8.4, Table 6"
TS_119_312_ENDS: Final = (
    AlgorithmEnd(
        algorithm="sha1",
        until=SHA1_UNTIL,
        source="ETSI TS 119 312 V2.1.1 (2026-06), Annex D, Table D.1",
    ),
    _end("sha224", 2028, source="ETSI TS 119 312 V2.1.1 (2026-06), clause 5.1, Table 1"),
    _end("rsa", 2026, 3000, source=_TS_119_312),
    AlgorithmEnd(
        algorithm="ecdsa",
        until=datetime(2021, 9, 30, 23, 59, 59, tzinfo=UTC),
        source="ETSI TS 119 312 V2.1.1 (2026-06), Annex D, Table D.2",
        below_bits=256,
    ),
)
"""Ends by ETSI's cryptographic suites. What has none there, such as SHA-256 and RSA of 3,000 bits, has none here."""


def matches(use: Use, end: AlgorithmEnd) -> bool:
    """Say whether the end is about this use."""
    return use.algorithm == end.algorithm and (
        end.below_bits is None or (use.bits is not None and use.bits < end.below_bits)
    )


def uses_of_path(path: Sequence[x509.Certificate]) -> Iterator[Use]:
    """Yield what a certificate path relies on, signer first: each key, and each signature but the root's own."""
    for position, certificate in enumerate(path):
        kind, bits = key_of(certificate)
        yield Use(kind, bits, f"the key of {certificate.subject.rfc4514_string()}")
        if position < len(path) - 1 and (name := signature_hash(certificate)):
            yield Use(name, None, f"the signature on {certificate.subject.rfc4514_string()}")


def key_of(certificate: x509.Certificate) -> tuple[str, int | None]:
    """Return the kind of a certificate's key, and its length in bits where it has one that varies.

    A key that cannot be read is of the kind "unknown".
    """
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "unknown", None
    kind = next((name for type_, name in _KEY_KINDS if isinstance(key, type_)), "unknown")
    return kind, key.key_size if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else None


def signature_hash(certificate: x509.Certificate) -> str | None:
    """Return the hash that a certificate is signed with, None where the signature scheme has its own."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    return algorithm.name.replace("_", "-") if algorithm is not None else None
