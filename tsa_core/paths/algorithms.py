"""Which algorithms signatures on certificates and tokens may use (rule V15), from their identifiers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives import hashes as primitives
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa

from tsa_core.paths.errors import UnsupportedAlgorithm, WeakAlgorithm
from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import IMPRINT_HASHES, SHA256, SHA384, SHA512, SHAKE256_512, HashAlgorithm
from tsa_core.protocol.signatures import MAX_RSA_BITS, MIN_RSA_BITS, describe_key
from tsa_core.protocol.tstinfo_reader import hash_identifier

MAX_RSA_EXPONENT_BITS: Final = 64
"""A longer public exponent serves nobody but those who want verifiers to work long."""

_HASHES: Final = {h.oid: h for h in IMPRINT_HASHES.values()}
_PRIMITIVES: Final[dict[str, primitives.HashAlgorithm]] = {
    SHA256.name: primitives.SHA256(),
    SHA384.name: primitives.SHA384(),
    SHA512.name: primitives.SHA512(),
}
_SHAKE256_IDENTIFIERS: Final = {SHAKE256_512.identifier, der.sequence(der.oid(oids.SHAKE256))}
_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})

_RSA_PKCS1V15: Final = {
    oids.SHA256_WITH_RSA: SHA256,
    oids.SHA384_WITH_RSA: SHA384,
    oids.SHA512_WITH_RSA: SHA512,
}
_ECDSA: Final = {
    oids.ECDSA_WITH_SHA256: SHA256,
    oids.ECDSA_WITH_SHA384: SHA384,
    oids.ECDSA_WITH_SHA512: SHA512,
}
_PLAIN: Final[dict[str, type[Any]]] = {
    oids.ID_ED25519: ed25519.Ed25519PublicKey,
    oids.ID_ED448: ed448.Ed448PublicKey,
    oids.ID_ML_DSA_44: mldsa.MLDSA44PublicKey,
    oids.ID_ML_DSA_65: mldsa.MLDSA65PublicKey,
    oids.ID_ML_DSA_87: mldsa.MLDSA87PublicKey,
}
_WEAK_SIGNATURES: Final = {
    "1.2.840.113549.1.1.2": "MD2 with RSA",
    "1.2.840.113549.1.1.4": "MD5 with RSA",
    "1.2.840.113549.1.1.5": "SHA-1 with RSA",
    "1.2.840.10040.4.3": "SHA-1 with DSA",
    "1.2.840.10045.4.1": "SHA-1 with ECDSA",
}


class SignatureScheme(NamedTuple):
    """How to check a signature: the kind of key, and what its `verify` takes beyond signature and message."""

    name: str
    key_type: type[Any]
    arguments: tuple[Any, ...] = ()

    def verify(self, public_key: Any, signature: bytes, message: bytes) -> None:
        """Return if `signature` is one of `message`; raises cryptography's InvalidSignature or UnsupportedAlgorithm."""
        if not isinstance(public_key, self.key_type):
            raise UnsupportedAlgorithm(
                f"the signature algorithm {self.name} does not go with a key of type {describe_key(public_key)}"
            )
        public_key.verify(signature, message, *self.arguments)


def digest_algorithm(identifier: bytes, what: str) -> HashAlgorithm:
    """Return the strong hash of an AlgorithmIdentifier; `what` it is for stands in the error's text.

    Raises EncodingError, WeakAlgorithm or UnsupportedAlgorithm.
    """
    if identifier in _SHAKE256_IDENTIFIERS:
        return SHAKE256_512
    try:
        oid = hash_identifier(identifier)
    except EncodingError as error:
        raise EncodingError(f"the hash algorithm of {what} cannot be read: {error}") from None
    return strong_hash(oid, what)


def strong_hash(oid: str, what: str) -> HashAlgorithm:
    """Return the hash of that identifier; raises WeakAlgorithm or UnsupportedAlgorithm."""
    algorithm = _HASHES.get(oid)
    if algorithm is None:
        raise UnsupportedAlgorithm(f"the hash algorithm {oid} of {what} is not supported")
    if algorithm.weak:
        raise WeakAlgorithm(f"{algorithm.name.upper()} is too weak for {what}")
    return algorithm


@lru_cache(maxsize=128)
def signature_scheme(identifier: bytes, digest: HashAlgorithm) -> SignatureScheme:
    """Return the scheme of a signatureAlgorithm; `digest` is the SignerInfo's digestAlgorithm (RFC 5754 3).

    Raises EncodingError, WeakAlgorithm or UnsupportedAlgorithm.
    """
    try:
        tag, start, end = der.read(identifier, 0, len(identifier))
        oid_tag, content, after = der.read(identifier, start, end)
        if tag != der.SEQUENCE or oid_tag != der.OBJECT_IDENTIFIER:
            raise EncodingError("it is not an AlgorithmIdentifier")
        der.check_oid(identifier[content:after])
    except EncodingError as error:
        raise EncodingError(f"the signature algorithm cannot be read: {error}") from None
    oid = der.dotted(identifier[start:after])
    parameters = identifier[after:end]
    if oid == oids.ID_RSASSA_PSS:
        return _pss(parameters)
    if oid in _WEAK_SIGNATURES:
        raise WeakAlgorithm(f"{_WEAK_SIGNATURES[oid]} is too weak for the signature")
    if parameters not in {b"", der.null()}:
        raise EncodingError(f"the signature algorithm {oid} has parameters that it must not have")
    if oid == oids.RSA_ENCRYPTION or oid in _RSA_PKCS1V15:
        hash_algorithm = _RSA_PKCS1V15.get(oid, digest)
        if hash_algorithm.name not in _PRIMITIVES:
            raise UnsupportedAlgorithm(f"RSA signatures with {hash_algorithm.name} are not supported")
        primitive = _PRIMITIVES[hash_algorithm.name]
        return SignatureScheme(f"RSA with {hash_algorithm.name}", rsa.RSAPublicKey, (padding.PKCS1v15(), primitive))
    if oid in _ECDSA:
        name = _ECDSA[oid].name
        return SignatureScheme(f"ECDSA with {name}", ec.EllipticCurvePublicKey, (ec.ECDSA(_PRIMITIVES[name]),))
    if oid in _PLAIN:
        return SignatureScheme(_PLAIN[oid].__name__.removesuffix("PublicKey"), _PLAIN[oid])
    raise UnsupportedAlgorithm(f"the signature algorithm {oid} is not supported")


def _pss(parameters: bytes) -> SignatureScheme:
    """Return the scheme of RSASSA-PSS-params (RFC 4055 3.1); its defaults are SHA-1 and therefore refused."""
    hash_algorithm = mask_hash = None
    salt = 20
    try:
        tag, offset, end = der.read(parameters, 0, len(parameters))
        if tag != der.SEQUENCE or end != len(parameters):
            raise EncodingError("they are not a SEQUENCE")
        while offset < end:
            tag, start, stop = der.read(parameters, offset, end)
            value = parameters[start:stop]
            if tag == 0xA0:
                hash_algorithm = digest_algorithm(value, "the PSS signature")
            elif tag == 0xA1:
                _, start, _ = der.read(value, 0, len(value))
                _, _, after = der.read(value, start, len(value))
                if value[start:after] != der.oid(oids.ID_MGF1):
                    raise UnsupportedAlgorithm("the mask generation of a PSS signature is not MGF1")
                mask_hash = digest_algorithm(value[after:], "the PSS mask")
            elif tag == 0xA2 and len(value) in {3, 4} and value[0] == der.INTEGER:
                salt = int.from_bytes(value[2:], "big", signed=True)
            elif not (tag == 0xA3 and value == der.integer(1)):
                raise EncodingError(f"unexpected value with tag {tag:#04x}")
            offset = stop
    except EncodingError as error:
        raise EncodingError(f"the PSS parameters cannot be read: {error}") from None
    if hash_algorithm is None or mask_hash is None:
        raise WeakAlgorithm("SHA-1, the default of a PSS signature, is too weak for the signature")
    if hash_algorithm.name not in _PRIMITIVES or mask_hash.name not in _PRIMITIVES or not 0 <= salt <= 1024:
        raise UnsupportedAlgorithm(f"PSS with {hash_algorithm.name}, {mask_hash.name} and salt {salt}")
    return SignatureScheme(
        f"RSA-PSS with {hash_algorithm.name}",
        rsa.RSAPublicKey,
        (padding.PSS(padding.MGF1(_PRIMITIVES[mask_hash.name]), salt), _PRIMITIVES[hash_algorithm.name]),
    )


def check_public_key(public_key: object, whose: object) -> None:
    """Raise WeakAlgorithm or UnsupportedAlgorithm for a key that must not carry trust (rule V15).

    `whose` is turned into text only when there is an error to tell.
    """
    if isinstance(public_key, rsa.RSAPublicKey):
        if public_key.key_size < MIN_RSA_BITS:
            raise WeakAlgorithm(f"the RSA key of {whose} has only {public_key.key_size} bits")
        exponent = public_key.public_numbers().e
        if public_key.key_size > MAX_RSA_BITS or exponent.bit_length() > MAX_RSA_EXPONENT_BITS:
            raise UnsupportedAlgorithm(f"the RSA key of {whose} is larger than any honest one")
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        if public_key.curve.name not in _CURVES:
            raise UnsupportedAlgorithm(f"the curve {public_key.curve.name} of {whose} is not supported")
    elif not isinstance(public_key, tuple(_PLAIN.values())):
        raise UnsupportedAlgorithm(f"the key of {whose}, {describe_key(public_key)}, is not supported")


@lru_cache(maxsize=128)
def certificate_signature_scheme(identifier: bytes) -> SignatureScheme:
    """Return the scheme of a certificate's signatureAlgorithm, which names its hash (RFC 5280 4.1.1.2)."""
    if der.oid(oids.RSA_ENCRYPTION) in identifier[:16]:
        raise UnsupportedAlgorithm("a certificate is signed with rsaEncryption, which names no hash")
    return signature_scheme(identifier, SHA256)
