"""Hash algorithms of message imprints and of CMS digests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import ClassVar, Final, Protocol

from tsa_core.protocol import der, oids
from tsa_core.values import Value


class Hash(Protocol):
    """The interface of hashlib's objects."""

    def update(self, data: bytes, /) -> None:
        """Add bytes to the message."""

    def digest(self) -> bytes:
        """Return the digest of the message."""


class _Shake256With512Bits:
    """SHAKE256 with the 512 bit output that RFC 8419 requires, with the interface of hashlib's objects."""

    def __init__(self, data: bytes = b"") -> None:
        self._hash = hashlib.shake_256(data)

    def update(self, data: bytes) -> None:
        self._hash.update(data)

    def digest(self) -> bytes:
        return self._hash.digest(64)


class HashAlgorithm(Value):
    """A hash algorithm: its names, its sizes and how to compute it.

    `name` is lower case without dashes between letters and digits (`sha256`, `sha3-256`);
    `identifier` is the AlgorithmIdentifier written into tokens, parameters absent (RFC 5754 2).
    """

    name: str
    oid: str
    digest_size: int
    weak: bool = False
    new: Callable[..., Hash]
    parameters: bytes = b""

    _hidden: ClassVar = frozenset({"new", "parameters"})

    @cached_property
    def oid_der(self) -> bytes:
        """The object identifier, DER."""
        return der.oid(self.oid)

    @cached_property
    def identifier(self) -> bytes:
        """The AlgorithmIdentifier, DER."""
        return der.sequence(self.oid_der, self.parameters)

    def digest(self, data: bytes) -> bytes:
        """Return the digest of `data`."""
        return self.new(data).digest()


MD5: Final = HashAlgorithm(name="md5", oid=oids.MD5, digest_size=16, weak=True, new=hashlib.md5)
SHA1: Final = HashAlgorithm(name="sha1", oid=oids.SHA1, digest_size=20, weak=True, new=hashlib.sha1)
SHA224: Final = HashAlgorithm(name="sha224", oid=oids.SHA224, digest_size=28, new=hashlib.sha224)
SHA256: Final = HashAlgorithm(name="sha256", oid=oids.SHA256, digest_size=32, new=hashlib.sha256)
SHA384: Final = HashAlgorithm(name="sha384", oid=oids.SHA384, digest_size=48, new=hashlib.sha384)
SHA512: Final = HashAlgorithm(name="sha512", oid=oids.SHA512, digest_size=64, new=hashlib.sha512)
SHA3_256: Final = HashAlgorithm(name="sha3-256", oid=oids.SHA3_256, digest_size=32, new=hashlib.sha3_256)
SHA3_384: Final = HashAlgorithm(name="sha3-384", oid=oids.SHA3_384, digest_size=48, new=hashlib.sha3_384)
SHA3_512: Final = HashAlgorithm(name="sha3-512", oid=oids.SHA3_512, digest_size=64, new=hashlib.sha3_512)
SHAKE256_512: Final = HashAlgorithm(
    name="shake256",
    oid=oids.SHAKE256_LEN,
    digest_size=64,
    new=_Shake256With512Bits,
    parameters=der.integer(512),
)
"""id-shake256-len with 512: the digest that goes with Ed448 (RFC 8419 2.3)."""

IMPRINT_HASHES: Final = {h.name: h for h in (MD5, SHA1, SHA224, SHA256, SHA384, SHA512, SHA3_256, SHA3_384, SHA3_512)}
"""Every hash of a message imprint that the core knows, by name; a profile's settings say which it accepts."""

DEFAULT_IMPRINT_HASHES: Final = ("sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512")


def hash_by_name(name: str) -> HashAlgorithm:
    """Return the hash of that name, case and dashes ignored (`SHA-256`, `sha3_256`); KeyError if unknown."""
    plain = name.strip().lower().replace("_", "-")
    if plain in IMPRINT_HASHES:
        return IMPRINT_HASHES[plain]
    squeezed = {key.replace("-", ""): value for key, value in IMPRINT_HASHES.items()}
    return squeezed[plain.replace("-", "")]
