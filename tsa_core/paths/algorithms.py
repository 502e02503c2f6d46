"""Which algorithms signatures on certificates and tokens may use (rule V15), from their identifiers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives import hashes as primitives
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, mldsa, padding, rsa

from tsa_core.paths.errors import UnsupportedAlgorithm, WeakAlgorithm
from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import IMPRINT_HASHES, SHA256, SHAKE256_512, HashAlgorithm
from tsa_core.protocol.signatures import MAX_RSA_BITS, MIN_RSA_BITS, describe_key
from tsa_core.protocol.tstinfo_reader import hash_identifier
from tsa_core.values import Value

SHA1_UNTIL: Final = datetime(2012, 7, 31, 23, 59, 59, tzinfo=UTC)
"""The last moment of SHA-1 by ETSI TS 119 312 V2.1.1 (2026-06), Table D.1."""
MAX_RSA_EXPONENT_BITS: Final = 64
"""A longer public exponent serves nobody but those who want verifiers to work long."""
MAX_PSS_SALT: Final = 1024

_HASHES: Final = {h.oid: h for h in IMPRINT_HASHES.values()}
_WEAK_HASHES: Final = frozenset({"md5", "sha1"})
_PRIMITIVES: Final[dict[str, primitives.HashAlgorithm]] = {
    "md5": primitives.MD5(),  # noqa: S303 - refused unless the caller's rules allow it
    "sha1": primitives.SHA1(),  # noqa: S303 - likewise
    "sha224": primitives.SHA224(),
    "sha256": primitives.SHA256(),
    "sha384": primitives.SHA384(),
    "sha512": primitives.SHA512(),
    "sha512-224": primitives.SHA512_224(),
    "sha512-256": primitives.SHA512_256(),
    "sha3-224": primitives.SHA3_224(),
    "sha3-256": primitives.SHA3_256(),
    "sha3-384": primitives.SHA3_384(),
    "sha3-512": primitives.SHA3_512(),
}
_SHAKE256_IDENTIFIERS: Final = {SHAKE256_512.identifier, der.sequence(der.oid(oids.SHAKE256))}
_CURVES: Final = frozenset(
    {
        "secp224r1",
        "secp256r1",
        "secp384r1",
        "secp521r1",
        "secp256k1",
        "brainpoolP256r1",
        "brainpoolP384r1",
        "brainpoolP512r1",
    }
)
"""The prime curves that cryptography has, but for secp192r1, whose 96 bits of strength are too few."""

_NIST_SIGNATURES: Final = "2.16.840.1.101.3.4.3."
_RSA_PKCS1V15: Final = {
    "1.2.840.113549.1.1.2": "md2",
    "1.2.840.113549.1.1.4": "md5",
    "1.2.840.113549.1.1.5": "sha1",
    "1.3.14.3.2.29": "sha1",
    "1.2.840.113549.1.1.14": "sha224",
    oids.SHA256_WITH_RSA: "sha256",
    oids.SHA384_WITH_RSA: "sha384",
    oids.SHA512_WITH_RSA: "sha512",
    "1.2.840.113549.1.1.15": "sha512-224",
    "1.2.840.113549.1.1.16": "sha512-256",
    _NIST_SIGNATURES + "13": "sha3-224",
    _NIST_SIGNATURES + "14": "sha3-256",
    _NIST_SIGNATURES + "15": "sha3-384",
    _NIST_SIGNATURES + "16": "sha3-512",
}
_ECDSA: Final = {
    "1.2.840.10045.4.1": "sha1",
    "1.2.840.10045.4.3.1": "sha224",
    oids.ECDSA_WITH_SHA256: "sha256",
    oids.ECDSA_WITH_SHA384: "sha384",
    oids.ECDSA_WITH_SHA512: "sha512",
    _NIST_SIGNATURES + "9": "sha3-224",
    _NIST_SIGNATURES + "10": "sha3-256",
    _NIST_SIGNATURES + "11": "sha3-384",
    _NIST_SIGNATURES + "12": "sha3-512",
}
_DSA: Final = {
    "1.2.840.10040.4.3": "sha1",
    _NIST_SIGNATURES + "1": "sha224",
    _NIST_SIGNATURES + "2": "sha256",
    _NIST_SIGNATURES + "3": "sha384",
    _NIST_SIGNATURES + "4": "sha512",
}
_PLAIN: Final[dict[str, type[Any]]] = {
    oids.ID_ED25519: ed25519.Ed25519PublicKey,
    oids.ID_ED448: ed448.Ed448PublicKey,
    oids.ID_ML_DSA_44: mldsa.MLDSA44PublicKey,
    oids.ID_ML_DSA_65: mldsa.MLDSA65PublicKey,
    oids.ID_ML_DSA_87: mldsa.MLDSA87PublicKey,
}
_PSS_HASHES: Final = {
    **{oid: algorithm.name for oid, algorithm in _HASHES.items()},
    "2.16.840.1.101.3.4.2.5": "sha512-224",
    "2.16.840.1.101.3.4.2.6": "sha512-256",
    "2.16.840.1.101.3.4.2.7": "sha3-224",
}


class PSSParameters(NamedTuple):
    """RSASSA-PSS-params (RFC 4055 3.1): of a signature, or what a key demands of its signatures."""

    hash_name: str = "sha1"
    mask_hash_name: str = "sha1"
    salt_octets: int = 20


class SignatureScheme(NamedTuple):
    """How to check a signature: the kind of key, and what its `verify` takes beyond signature and message."""

    name: str
    key_type: type[Any]
    arguments: tuple[Any, ...] = ()
    hash_names: tuple[str, ...] = ()
    """The hashes that the signature relies on."""
    pss: PSSParameters | None = None

    def verify(self, public_key: Any, signature: bytes, message: bytes | memoryview) -> None:
        """Return if `signature` is one of `message`; raises cryptography's InvalidSignature or UnsupportedAlgorithm."""
        if not isinstance(public_key, self.key_type):
            raise UnsupportedAlgorithm(
                f"the signature algorithm {self.name} does not go with a key of type {describe_key(public_key)}"
            )
        public_key.verify(signature, message, *self.arguments)


class KeyUse(NamedTuple):
    """What the algorithm of a SubjectPublicKeyInfo demands of the key's signatures (RFC 4055 1.2)."""

    pss_only: bool = False
    parameters: PSSParameters | None = None
    """The hash, the mask's hash and the least salt that an id-RSASSA-PSS key signs with; None: any."""

    def check(self, scheme: SignatureScheme, whose: object) -> None:
        """Raise UnsupportedAlgorithm for a scheme that the key is not for; `whose` stands in the error's text."""
        if not self.pss_only:
            return
        if scheme.pss is None:
            raise UnsupportedAlgorithm(f"the key of {whose} is for RSASSA-PSS only, not for {scheme.name}")
        wanted = self.parameters
        if wanted is not None and (scheme.pss[:2] != wanted[:2] or scheme.pss.salt_octets < wanted.salt_octets):
            raise UnsupportedAlgorithm(
                f"the key of {whose} is for RSASSA-PSS with {wanted.hash_name}, {wanted.mask_hash_name} and a salt of "
                f"{wanted.salt_octets} octets or more, not with {', '.join(map(str, scheme.pss))}"
            )


class AlgorithmRules(Value):
    """Which algorithms and keys may carry trust (rule V15); the defaults are the strict ones.

    `weak_hashes` are names of weak hashes (`sha1`, `md5`) that are accepted nonetheless, `min_rsa_bits` the size of
    the smallest RSA modulus, `dsa` says whether DSA keys are accepted.
    """

    weak_hashes: frozenset[str] = frozenset()
    min_rsa_bits: int = MIN_RSA_BITS
    dsa: bool = False

    def check_scheme(self, scheme: SignatureScheme) -> None:
        """Raise WeakAlgorithm for a signature that relies on a weak hash."""
        for name in scheme.hash_names:
            if name in _WEAK_HASHES and name not in self.weak_hashes:
                raise WeakAlgorithm(f"{scheme.name} is too weak for a signature")

    def check_key(self, public_key: object, whose: object) -> None:
        """Raise WeakAlgorithm or UnsupportedAlgorithm for a key that must not carry trust.

        `whose` is turned into text only when there is an error to tell.
        """
        if isinstance(public_key, rsa.RSAPublicKey):
            if public_key.key_size < self.min_rsa_bits:
                raise WeakAlgorithm(f"the RSA key of {whose} has only {public_key.key_size} bits")
            exponent = public_key.public_numbers().e
            if public_key.key_size > MAX_RSA_BITS or exponent.bit_length() > MAX_RSA_EXPONENT_BITS:
                raise UnsupportedAlgorithm(f"the RSA key of {whose} is larger than any honest one")
        elif isinstance(public_key, ec.EllipticCurvePublicKey):
            if public_key.curve.name not in _CURVES:
                raise UnsupportedAlgorithm(f"the curve {public_key.curve.name} of {whose} is not supported")
        elif not (isinstance(public_key, tuple(_PLAIN.values())) or (self.dsa and _is_dsa(public_key))):
            raise UnsupportedAlgorithm(f"the key of {whose}, {describe_key(public_key)}, is not supported")


STRICT: Final = AlgorithmRules()
"""The rules of a verifier that was told nothing else."""


def _is_dsa(public_key: object) -> bool:
    return isinstance(public_key, dsa.DSAPublicKey) and public_key.key_size <= MAX_RSA_BITS


def digest_algorithm(identifier: bytes, what: str, rules: AlgorithmRules = STRICT) -> HashAlgorithm:
    """Return the strong hash of an AlgorithmIdentifier; `what` it is for stands in the error's text.

    Raises EncodingError, WeakAlgorithm or UnsupportedAlgorithm.
    """
    if identifier in _SHAKE256_IDENTIFIERS:
        return SHAKE256_512
    try:
        oid = hash_identifier(identifier)
    except EncodingError as error:
        raise EncodingError(f"the hash algorithm of {what} cannot be read: {error}") from None
    return strong_hash(oid, what, rules)


def strong_hash(oid: str, what: str, rules: AlgorithmRules = STRICT) -> HashAlgorithm:
    """Return the hash of that identifier; raises WeakAlgorithm or UnsupportedAlgorithm."""
    algorithm = _HASHES.get(oid)
    if algorithm is None:
        raise UnsupportedAlgorithm(f"the hash algorithm {oid} of {what} is not supported")
    if algorithm.weak and algorithm.name not in rules.weak_hashes:
        raise WeakAlgorithm(f"{algorithm.name.upper()} is too weak for {what}")
    return algorithm


def signature_scheme(identifier: bytes, digest: HashAlgorithm, rules: AlgorithmRules = STRICT) -> SignatureScheme:
    """Return the scheme of a signatureAlgorithm; `digest` is the SignerInfo's digestAlgorithm (RFC 5754 3).

    Raises EncodingError, WeakAlgorithm or UnsupportedAlgorithm.
    """
    scheme = _scheme(identifier, digest)
    rules.check_scheme(scheme)
    return scheme


def certificate_signature_scheme(identifier: bytes, rules: AlgorithmRules = STRICT) -> SignatureScheme:
    """Return the scheme of a certificate's signatureAlgorithm, which names its hash (RFC 5280 4.1.1.2)."""
    if _RSA_ENCRYPTION in identifier[:16]:
        raise UnsupportedAlgorithm("a certificate is signed with rsaEncryption, which names no hash")
    return signature_scheme(identifier, SHA256, rules)


@lru_cache(maxsize=128)
def key_use(identifier: bytes) -> KeyUse:
    """Return what a key's AlgorithmIdentifier demands; raises EncodingError or UnsupportedAlgorithm."""
    oid, parameters = _algorithm(identifier)
    if oid != oids.ID_RSASSA_PSS:
        return KeyUse()
    return KeyUse(pss_only=True, parameters=_pss_parameters(parameters) if parameters else None)


_RSA_ENCRYPTION: Final = der.oid(oids.RSA_ENCRYPTION)


@lru_cache(maxsize=128)
def _scheme(identifier: bytes, digest: HashAlgorithm) -> SignatureScheme:
    try:
        oid, parameters = _algorithm(identifier)
    except EncodingError as error:
        raise EncodingError(f"the signature algorithm cannot be read: {error}") from None
    if oid == oids.ID_RSASSA_PSS:
        return _pss(parameters)
    if parameters not in {b"", der.null()}:
        raise EncodingError(f"the signature algorithm {oid} has parameters that it must not have")
    if oid in _PLAIN:
        return SignatureScheme(_PLAIN[oid].__name__.removesuffix("PublicKey"), _PLAIN[oid])
    if oid == oids.RSA_ENCRYPTION or oid in _RSA_PKCS1V15:
        name = _RSA_PKCS1V15.get(oid, digest.name)
        return _hashed("RSA", name, rsa.RSAPublicKey, lambda primitive: (padding.PKCS1v15(), primitive))
    if oid in _ECDSA:
        return _hashed("ECDSA", _ECDSA[oid], ec.EllipticCurvePublicKey, lambda primitive: (ec.ECDSA(primitive),))
    if oid in _DSA:
        return _hashed("DSA", _DSA[oid], dsa.DSAPublicKey, lambda primitive: (primitive,))
    raise UnsupportedAlgorithm(f"the signature algorithm {oid} is not supported")


def _hashed(
    family: str, hash_name: str, key_type: type[Any], arguments: Callable[[primitives.HashAlgorithm], tuple[Any, ...]]
) -> SignatureScheme:
    if hash_name == "md2":
        raise WeakAlgorithm(f"{family} with md2 is too weak for a signature")
    if hash_name not in _PRIMITIVES:
        raise UnsupportedAlgorithm(f"{family} signatures with {hash_name} are not supported")
    return SignatureScheme(f"{family} with {hash_name}", key_type, arguments(_PRIMITIVES[hash_name]), (hash_name,))


def _algorithm(identifier: bytes) -> tuple[str, bytes]:
    """Return the identifier and the encoded parameters, empty when absent, of an AlgorithmIdentifier."""
    tag, start, end = der.read(identifier, 0, len(identifier))
    oid_tag, content, after = der.read(identifier, start, end)
    if tag != der.SEQUENCE or oid_tag != der.OBJECT_IDENTIFIER:
        raise EncodingError("it is not an AlgorithmIdentifier")
    der.check_oid(identifier[content:after])
    return der.dotted(identifier[start:after]), identifier[after:end]


def _pss(parameters: bytes) -> SignatureScheme:
    pss = _pss_parameters(parameters)
    return SignatureScheme(
        f"RSA-PSS with {pss.hash_name}",
        rsa.RSAPublicKey,
        (padding.PSS(padding.MGF1(_PRIMITIVES[pss.mask_hash_name]), pss.salt_octets), _PRIMITIVES[pss.hash_name]),
        (pss.hash_name, pss.mask_hash_name),
        pss,
    )


def _pss_parameters(encoded: bytes) -> PSSParameters:
    """Return RSASSA-PSS-params (RFC 4055 3.1); its defaults are SHA-1."""
    pss = PSSParameters()
    try:
        tag, offset, end = der.read(encoded, 0, len(encoded))
        if tag != der.SEQUENCE or end != len(encoded):
            raise EncodingError("they are not a SEQUENCE")
        while offset < end:
            tag, start, stop = der.read(encoded, offset, end)
            value = encoded[start:stop]
            if tag == 0xA0:
                pss = pss._replace(hash_name=_pss_hash(value))
            elif tag == 0xA1:
                _, start, _ = der.read(value, 0, len(value))
                _, _, after = der.read(value, start, len(value))
                if value[start:after] != der.oid(oids.ID_MGF1):
                    raise UnsupportedAlgorithm("the mask generation of a PSS signature is not MGF1")
                pss = pss._replace(mask_hash_name=_pss_hash(value[after:]))
            elif tag == 0xA2 and len(value) in {3, 4} and value[0] == der.INTEGER:
                pss = pss._replace(salt_octets=int.from_bytes(value[2:], "big", signed=True))
            elif not (tag == 0xA3 and value == der.integer(1)):
                raise EncodingError(f"unexpected value with tag {tag:#04x}")
            offset = stop
    except EncodingError as error:
        raise EncodingError(f"the PSS parameters cannot be read: {error}") from None
    if not 0 <= pss.salt_octets <= MAX_PSS_SALT:
        raise UnsupportedAlgorithm(f"PSS with a salt of {pss.salt_octets} octets is not supported")
    return pss


def _pss_hash(identifier: bytes) -> str:
    oid = hash_identifier(identifier)
    if oid not in _PSS_HASHES:
        raise UnsupportedAlgorithm(f"PSS with the hash algorithm {oid} is not supported")
    return _PSS_HASHES[oid]
