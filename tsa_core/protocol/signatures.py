"""Signature algorithms that CMS can carry, with their identifiers and digests (rules C7 to C10).

A signer takes the whole message and returns the signature as CMS wants it: DER Ecdsa-Sig-Value for ECDSA,
the plain octets for everything else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes as primitives
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from tsa_core.protocol import der, oids
from tsa_core.protocol.encodings import Encoding, PublicFormat
from tsa_core.protocol.errors import TsaError
from tsa_core.protocol.hashes import SHA1, SHA256, SHA384, SHA512, SHAKE256_512, HashAlgorithm
from tsa_core.values import Value

PublicKey: TypeAlias = (
    rsa.RSAPublicKey
    | ec.EllipticCurvePublicKey
    | ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
)
"""A public key of a kind that tokens are signed with; an object of `cryptography`."""
PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)
"""A private key of a kind that tokens are signed with; an object of `cryptography`."""

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 16384
"""A larger key makes a verification so slow that it is an attack."""


_QUICK_CURVE_BITS: Final = 256
_QUICK_RSA_BITS: Final = 4096


class UnsupportedKey(TsaError):
    """The key cannot be used for timestamps; the text says what it is and what is needed."""


_PRIMITIVES: Final[dict[str, primitives.HashAlgorithm]] = {
    "sha1": primitives.SHA1(),  # noqa: S303 - of RSA_SHA1, which no token has
    "sha256": primitives.SHA256(),
    "sha384": primitives.SHA384(),
    "sha512": primitives.SHA512(),
}


class SignatureAlgorithm(Value):
    """One signature algorithm with the digest that goes with it.

    `identifier` is the AlgorithmIdentifier of SignerInfo.signatureAlgorithm, DER; `digest` is the algorithm of
    the message-digest attribute and of digestAlgorithms, and for RSA and ECDSA also the one inside the signature.
    """

    name: str
    digest: HashAlgorithm
    scheme: str
    """rsa-pkcs1v15, rsa-pss, ecdsa, ed25519, ed448 or ml-dsa."""
    identifier: bytes

    _hidden: ClassVar = frozenset({"identifier"})

    def verify(self, public_key: PublicKey, signature: bytes, message: bytes) -> None:
        """Raise cryptography's InvalidSignature unless `signature` is one of `message` under `public_key`."""
        if isinstance(public_key, rsa.RSAPublicKey):
            public_key.verify(signature, message, self._rsa_padding(), self._primitive)
        elif isinstance(public_key, ec.EllipticCurvePublicKey):
            public_key.verify(signature, message, ec.ECDSA(self._primitive))
        else:
            public_key.verify(signature, message)

    def signing_function(self, private_key: PrivateKey) -> Callable[[bytes], bytes]:
        """Return the function that signs with a key in this process's memory; it does all preparation once, here."""
        if isinstance(private_key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
            return self._signing_function(private_key, self._primitive)
        return private_key.sign

    def digest_signing_function(self, private_key: PrivateKey) -> Callable[[bytes], bytes] | None:
        """Return the function that signs what `digest` made of a message; None for schemes that take the message."""
        if isinstance(private_key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
            return self._signing_function(private_key, Prehashed(self._primitive))
        return None

    def is_valid(self, public_key: PublicKey, signature: bytes, message: bytes) -> bool:
        """Say whether `signature` verifies; for checks of signatures that this server makes."""
        try:
            self.verify(public_key, signature, message)
        except InvalidSignature:
            return False
        return True

    def _signing_function(
        self,
        private_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
        algorithm: primitives.HashAlgorithm | Prehashed,
    ) -> Callable[[bytes], bytes]:
        if isinstance(private_key, rsa.RSAPrivateKey):
            return partial(private_key.sign, padding=self._rsa_padding(), algorithm=algorithm)
        return partial(private_key.sign, signature_algorithm=ec.ECDSA(algorithm))

    @property
    def _primitive(self) -> primitives.HashAlgorithm:
        return _PRIMITIVES[self.digest.name]

    def _rsa_padding(self) -> padding.AsymmetricPadding:
        if self.scheme == "rsa-pss":
            return padding.PSS(padding.MGF1(self._primitive), self.digest.digest_size)
        return padding.PKCS1v15()


def _rsa_pkcs1v15(digest: HashAlgorithm) -> SignatureAlgorithm:
    # RFC 5754 3.2: rsaEncryption is the identifier that every implementation must support; the digest
    # stands in digestAlgorithm.
    return SignatureAlgorithm(
        name=f"rsa-pkcs1v15-{digest.name}",
        digest=digest,
        scheme="rsa-pkcs1v15",
        identifier=der.sequence(der.oid(oids.RSA_ENCRYPTION), der.null()),
    )


def _rsa_pss(digest: HashAlgorithm) -> SignatureAlgorithm:
    hash_identifier = der.sequence(digest.oid_der, der.null())
    parameters = der.sequence(
        der.explicit(0, hash_identifier),
        der.explicit(1, der.sequence(der.oid(oids.ID_MGF1), hash_identifier)),
        der.explicit(2, der.integer(digest.digest_size)),
    )
    return SignatureAlgorithm(
        name=f"rsa-pss-{digest.name}",
        digest=digest,
        scheme="rsa-pss",
        identifier=der.sequence(der.oid(oids.ID_RSASSA_PSS), parameters),
    )


def _plain(name: str, scheme: str, oid: str, digest: HashAlgorithm) -> SignatureAlgorithm:
    return SignatureAlgorithm(name=name, digest=digest, scheme=scheme, identifier=der.sequence(der.oid(oid)))


_SHA2: Final = {h.name: h for h in (SHA256, SHA384, SHA512)}
_RSA: Final = {
    (scheme, h.name): make(h)
    for scheme, make in (("rsa-pkcs1v15", _rsa_pkcs1v15), ("rsa-pss", _rsa_pss))
    for h in _SHA2.values()
}
RSA_SHA1: Final = _rsa_pkcs1v15(SHA1)
"""For countersignatures that an operator wants in SHA-1; `signature_algorithm` never returns it."""
_ECDSA: Final = {
    "sha256": _plain("ecdsa-sha256", "ecdsa", oids.ECDSA_WITH_SHA256, SHA256),
    "sha384": _plain("ecdsa-sha384", "ecdsa", oids.ECDSA_WITH_SHA384, SHA384),
    "sha512": _plain("ecdsa-sha512", "ecdsa", oids.ECDSA_WITH_SHA512, SHA512),
}
_CURVE_DIGESTS: Final = {
    "secp224r1": "sha256",
    "secp256r1": "sha256",
    "secp384r1": "sha384",
    "secp521r1": "sha512",
}
ED25519: Final = _plain("ed25519", "ed25519", oids.ID_ED25519, SHA512)
ED448: Final = _plain("ed448", "ed448", oids.ID_ED448, SHAKE256_512)
ML_DSA_44: Final = _plain("ml-dsa-44", "ml-dsa", oids.ID_ML_DSA_44, SHA512)
ML_DSA_65: Final = _plain("ml-dsa-65", "ml-dsa", oids.ID_ML_DSA_65, SHA512)
ML_DSA_87: Final = _plain("ml-dsa-87", "ml-dsa", oids.ID_ML_DSA_87, SHA512)
_FIXED: Final[tuple[tuple[type, SignatureAlgorithm], ...]] = (
    (ed25519.Ed25519PublicKey, ED25519),
    (ed448.Ed448PublicKey, ED448),
    (mldsa.MLDSA44PublicKey, ML_DSA_44),
    (mldsa.MLDSA65PublicKey, ML_DSA_65),
    (mldsa.MLDSA87PublicKey, ML_DSA_87),
)


def describe_key(public_key: object) -> str:
    """Return the key's type and size as text: `RSA 3072`, `EC secp256r1`, `Ed25519`, `ML-DSA-65`."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return f"RSA {public_key.key_size}"
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return f"EC {public_key.curve.name}"
    for kind, algorithm in _FIXED:
        if isinstance(public_key, kind):
            return {"ed25519": "Ed25519", "ed448": "Ed448"}.get(algorithm.name, algorithm.name.upper())
    return type(public_key).__name__


def is_slow(public_key: PublicKey) -> bool:
    """Say whether a signature takes so long that two threads of one process make nearly twice as many.

    All do but P-256, P-224 and the Edwards curves, whose signatures cost less than the request around them.
    """
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return public_key.curve.key_size > _QUICK_CURVE_BITS
    return not isinstance(public_key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey))


def is_quick_to_verify(public_key: PublicKey) -> bool:
    """Say whether a verification takes 0.1 ms or less: with P-256, P-224, and RSA up to 4096 bits."""
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return public_key.curve.key_size <= _QUICK_CURVE_BITS
    return isinstance(public_key, rsa.RSAPublicKey) and public_key.key_size <= _QUICK_RSA_BITS


def public_key_info(key: PublicKey) -> bytes:
    """Return a key's SubjectPublicKeyInfo, DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_fingerprint(key: PublicKey) -> str:
    """Return the SHA-256 of a key's SubjectPublicKeyInfo in hexadecimal, by which people tell two keys apart.

    It is what `openssl pkey -pubout -outform DER | sha256sum` prints.
    """
    return hashlib.sha256(public_key_info(key)).hexdigest()


def signature_algorithm(public_key: object, *, digest: str | None = None, pss: bool = False) -> SignatureAlgorithm:
    """Return the algorithm with which a key makes timestamp tokens.

    The digest follows the key (P-256 SHA-256, P-384 SHA-384, P-521 SHA-512, RSA SHA-256) unless `digest` names
    another of sha256, sha384 and sha512. Raises UnsupportedKey for keys that CMS does not support or of an unsafe
    size, and for a digest that contradicts the key.
    """
    if digest is not None:
        digest = digest.lower().replace("-", "")
        if digest not in _SHA2:
            raise UnsupportedKey(f"{digest!r} is not a digest for signatures; use sha256, sha384 or sha512")
    if isinstance(public_key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= public_key.key_size <= MAX_RSA_BITS:
            raise UnsupportedKey(
                f"an RSA key of {public_key.key_size} bits is out of range; "
                f"use one of {MIN_RSA_BITS} bits or more (3072 is a good choice)"
            )
        return _RSA["rsa-pss" if pss else "rsa-pkcs1v15", digest or "sha256"]
    if pss:
        raise UnsupportedKey(f"RSA-PSS was asked for, but the key is {describe_key(public_key)}")
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        if public_key.curve.name not in _CURVE_DIGESTS:
            raise UnsupportedKey(f"the curve {public_key.curve.name} is not supported; use P-256, P-384 or P-521")
        return _ECDSA[digest or _CURVE_DIGESTS[public_key.curve.name]]
    for kind, algorithm in _FIXED:
        if isinstance(public_key, kind):
            if digest is not None and digest != algorithm.digest.name:
                raise UnsupportedKey(f"{describe_key(public_key)} goes with {algorithm.digest.name}, not with {digest}")
            return algorithm
    raise UnsupportedKey(
        f"a key of type {describe_key(public_key)} cannot sign timestamps; "
        "use RSA, ECDSA P-256, P-384 or P-521, Ed25519, Ed448 or ML-DSA"
    )
