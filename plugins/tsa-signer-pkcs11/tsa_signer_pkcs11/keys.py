"""Finds the token, the private key and its public half; says how the key signs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pkcs11
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import PKCS11Error, TokenNotPresent, TokenNotRecognised
from pkcs11.mechanisms import MGF
from pkcs11.types import Object, PrivateKey, Session, Token

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib as Library  # noqa: N812 - it is a class, whatever its name

from tsa_core.api import PublicKey, SignatureAlgorithm, SignerError, SignerUnavailable
from tsa_signer_pkcs11.uri import KeyUri

_CURVES: Final[dict[bytes, type[ec.EllipticCurve]]] = {
    bytes.fromhex("06052b81040021"): ec.SECP224R1,
    bytes.fromhex("06082a8648ce3d030107"): ec.SECP256R1,
    bytes.fromhex("06052b81040022"): ec.SECP384R1,
    bytes.fromhex("06052b81040023"): ec.SECP521R1,
}
# PKCS#11 3.0 names Edwards curves by a PrintableString; an object identifier is as common.
_EDWARDS: Final[dict[bytes, type[ed25519.Ed25519PublicKey | ed448.Ed448PublicKey]]] = {
    b"\x13\x0cedwards25519": ed25519.Ed25519PublicKey,
    bytes.fromhex("06032b6570"): ed25519.Ed25519PublicKey,
    b"\x13\x0aedwards448": ed448.Ed448PublicKey,
    bytes.fromhex("06032b6571"): ed448.Ed448PublicKey,
}
# RFC 8017 9.2, note 1: what stands before the digest in a PKCS #1 v1.5 signature.
_EDDSA_OCTETS = {"ed25519": 64, "ed448": 114}
_DIGEST_INFO: Final = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
_MANY: Final = 20


# -- finding --------------------------------------------------------------------------------------------------------


def find_token(lib: Library, uri: KeyUri) -> Token:
    """Return the one token that the URI means; raises SignerUnavailable when none is there, SignerError for several."""
    present = list(_tokens(lib))
    matching = [token for token in present if _is_meant(token, uri)]
    if len(matching) == 1:
        return matching[0]
    seen = ", ".join(f"{token.label!r} (serial {token.serial.decode('ascii', 'replace')})" for token in present)
    if matching:
        raise SignerError(f"several tokens have {uri.token_text}: {seen}; add serial= or slot-id= to the key URI")
    raise SignerUnavailable(f"there is no token with {uri.token_text}; present: {seen or 'none'}")


def _tokens(lib: Library) -> Iterator[Token]:
    for slot in lib.get_slots(token_present=True):
        try:
            token = slot.get_token()
        except (TokenNotPresent, TokenNotRecognised):
            continue
        if pkcs11.TokenFlag.TOKEN_INITIALIZED in token.flags:
            yield token


def _is_meant(token: Token, uri: KeyUri) -> bool:
    wanted = (
        (uri.token, token.label),
        (uri.serial, token.serial.decode("ascii", "replace").rstrip("\0 ")),
        (uri.manufacturer, token.manufacturer_id),
        (uri.model, token.model),
        (uri.slot_id, token.slot.slot_id),
    )
    return all(value is None or value == actual for value, actual in wanted)


def find_private_key(session: Session, uri: KeyUri) -> PrivateKey:
    """Return the one private key that the URI means; raises KeyNotFoundError, or SignerError for several."""
    template = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, **_names(uri)}
    found = [key for key, _ in zip(session.get_objects(template), range(_MANY), strict=False)]
    if len(found) == 1:
        key = found[0]
        assert isinstance(key, PrivateKey)  # noqa: S101 - the class was asked for
        return key
    everything = found or list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}))[:_MANY]
    listed = ", ".join(describe_object(key) for key in everything)
    label = session.token.label
    if found:
        raise SignerError(f"token {label!r} has several private keys with {uri.key_text}: {listed}; add id= or object=")
    raise KeyNotFoundError(
        f"token {label!r} has no private key with {uri.key_text}; visible there: {listed or 'none'}"
        f"{'' if everything else ' (private keys show only after a login: is a PIN set?)'}"
    )


class KeyNotFoundError(SignerError):
    """The token has no such key now: it was deleted, or the module has lost sight of its objects."""


def _names(uri: KeyUri) -> dict[Attribute, Any]:
    names: dict[Attribute, Any] = {}
    if uri.object is not None:
        names[Attribute.LABEL] = uri.object
    if uri.id is not None:
        names[Attribute.ID] = uri.id
    return names


def describe_object(item: Object) -> str:
    """Return label and id of an object for messages."""
    label, identity = attribute(item, Attribute.LABEL), attribute(item, Attribute.ID)
    return f"{label or ''!r} (id {identity.hex() if identity else 'none'})"


def attribute(item: Object, name: Attribute) -> Any:
    """Return an attribute, None when the object does not have it or does not show it."""
    try:
        return item[name]
    except PKCS11Error:
        return None


# -- the public half ------------------------------------------------------------------------------------------------


def read_public_key(session: Session, key: PrivateKey) -> PublicKey:
    """Return the public half from the public key object, a certificate or the private key's own attributes.

    Public objects are matched by CKA_ID, as PKCS#11 recommends, else by label. Raises SignerError.
    """
    names = {Attribute.ID: attribute(key, Attribute.ID), Attribute.LABEL: attribute(key, Attribute.LABEL)}
    for name, value in names.items():
        if not value:
            continue
        for item in session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, name: value}):
            if attribute(item, Attribute.KEY_TYPE) == key.key_type:
                return _from_attributes(item, key.key_type)
        for item in session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE, name: value}):
            return _from_certificate(item)
    if key.key_type == KeyType.RSA and attribute(key, Attribute.PUBLIC_EXPONENT):
        return _from_attributes(key, KeyType.RSA)
    raise SignerError(
        f"the private key {describe_object(key)} has neither a public key object nor a certificate beside it with the "
        "same id; put one of them on the token"
    )


def _from_certificate(item: Object) -> PublicKey:
    try:
        public: Any = x509.load_der_x509_certificate(item[Attribute.VALUE]).public_key()
    except ValueError:
        raise SignerError(f"the certificate {describe_object(item)} on the token cannot be read") from None
    found: PublicKey = public
    return found


def _from_attributes(item: Object, key_type: KeyType) -> PublicKey:
    try:
        if key_type == KeyType.RSA:
            numbers = (item[Attribute.PUBLIC_EXPONENT], item[Attribute.MODULUS])
            return rsa.RSAPublicNumbers(*(int.from_bytes(number, "big") for number in numbers)).public_key()
        if key_type == KeyType.EC:
            curve = _CURVES[item[Attribute.EC_PARAMS]]()
            size = 1 + 2 * ((curve.key_size + 7) // 8)
            return ec.EllipticCurvePublicKey.from_encoded_point(curve, _point(item, size))
        if key_type == KeyType.EC_EDWARDS:
            kind = _EDWARDS[item[Attribute.EC_PARAMS]]
            return kind.from_public_bytes(_point(item, 32 if kind is ed25519.Ed25519PublicKey else 57))
    except KeyError:
        raise SignerError(
            f"the key {describe_object(item)} is on a curve that timestamps cannot use; P-256, P-384, P-521 or Ed25519 "
            "is needed"
        ) from None
    except ValueError:
        raise SignerError(f"the public key {describe_object(item)} on the token is damaged") from None
    raise SignerError(
        f"the key {describe_object(item)} is of type {getattr(key_type, 'name', key_type)}; RSA, ECDSA P-256, P-384 or "
        "P-521, or Ed25519 is needed"
    )


def _point(item: Object, size: int) -> bytes:
    """Return CKA_EC_POINT, which is an OCTET STRING around the point, or the bare point in some modules."""
    value: bytes = item[Attribute.EC_POINT]
    if len(value) == size:
        return value
    header = 3 if value[1:2] == b"\x81" else 2
    if value[:1] != b"\x04" or len(value) != header + size:
        raise ValueError("not an OCTET STRING")
    return value[header:]


# -- signing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Operation:
    """How the token is asked for a signature: mechanism, parameter, and what surrounds the call."""

    mechanism: Mechanism
    parameter: Any
    prepare: Callable[[bytes], bytes]
    finish: Callable[[bytes], bytes]

    def sign(self, key: Any, message: bytes, pin: str | None) -> bytes:
        """Return the signature as CMS wants it; `pin` for a key that asks for it each time. Raises PKCS11Error."""
        made: bytes = key.sign(self.prepare(message), mechanism=self.mechanism, mechanism_param=self.parameter, pin=pin)
        return self.finish(made)


def choose_operation(algorithm: SignatureAlgorithm, public_key: PublicKey, offered: set[Mechanism]) -> Operation:
    """Return the first mechanism of the token that makes such signatures; raises SignerError when none does.

    Those that take a digest come first: the message is hashed here, and little travels to the device.
    """
    for operation in _operations(algorithm, public_key):
        if operation.mechanism in offered:
            return operation
    needed = " or ".join(f"CKM_{operation.mechanism.name}" for operation in _operations(algorithm, public_key))
    raise SignerError(f"the token cannot make {algorithm.name} signatures: it lacks {needed or 'a mechanism for it'}")


def _operations(algorithm: SignatureAlgorithm, public_key: PublicKey) -> Iterator[Operation]:
    name = algorithm.digest.name
    hashed = getattr(hashlib, name, None)
    if algorithm.scheme == "ecdsa" and isinstance(public_key, ec.EllipticCurvePublicKey) and hashed:
        # FIPS 186-5 6.4.1: the leftmost bits; not every token cuts a digest that is longer than the key.
        size = (public_key.curve.key_size + 7) // 8
        yield Operation(
            mechanism=Mechanism.ECDSA,
            parameter=None,
            prepare=lambda message: hashed(message).digest()[:size],
            finish=_ecdsa_der,
        )
        yield _whole(Mechanism[f"ECDSA_{name.upper()}"], finish=_ecdsa_der)
    elif isinstance(public_key, rsa.RSAPublicKey) and hashed:
        yield from _rsa_operations(algorithm, hashed, _of_length((public_key.key_size + 7) // 8))
    elif algorithm.scheme in _EDDSA_OCTETS:
        # PKCS#11 3.0 2.3.14: Ed448 needs CK_EDDSA_PARAMS, here without prehash and context; Ed25519 needs none.
        parameter = (False, None) if algorithm.scheme == "ed448" else None
        yield _whole(Mechanism.EDDSA, parameter=parameter, finish=_of_length(_EDDSA_OCTETS[algorithm.scheme]))


def _rsa_operations(
    algorithm: SignatureAlgorithm, hashed: Callable[[bytes], Any], finish: Callable[[bytes], bytes]
) -> Iterator[Operation]:
    name = algorithm.digest.name
    if algorithm.scheme == "rsa-pkcs1v15":
        prefix = _DIGEST_INFO[name]
        yield Operation(
            mechanism=Mechanism.RSA_PKCS,
            parameter=None,
            prepare=lambda message: prefix + hashed(message).digest(),
            finish=finish,
        )
        yield _whole(Mechanism[f"{name.upper()}_RSA_PKCS"], finish=finish)
    elif algorithm.scheme == "rsa-pss":
        parameter = (Mechanism[name.upper()], MGF[name.upper()], algorithm.digest.digest_size)
        yield Operation(
            mechanism=Mechanism.RSA_PKCS_PSS,
            parameter=parameter,
            prepare=lambda message: hashed(message).digest(),
            finish=finish,
        )
        yield _whole(Mechanism[f"{name.upper()}_RSA_PKCS_PSS"], parameter=parameter, finish=finish)


def _whole(mechanism: Mechanism, *, parameter: Any = None, finish: Callable[[bytes], bytes]) -> Operation:
    return Operation(mechanism=mechanism, parameter=parameter, prepare=bytes, finish=finish)


def _of_length(octets: int) -> Callable[[bytes], bytes]:
    """Return a function that returns a signature; it raises SignerError for one of another length."""

    def checked(signature: bytes) -> bytes:
        if len(signature) != octets:
            raise SignerError(f"the token returned {len(signature)} bytes, and such a signature has {octets}")
        return bytes(signature)

    return checked


def _ecdsa_der(signature: bytes) -> bytes:
    """Return DER Ecdsa-Sig-Value for r and s side by side; raises SignerError for anything else."""
    half, odd = divmod(len(signature), 2)
    r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    if odd or not r or not s:
        raise SignerError(f"the token returned {len(signature)} bytes that are no ECDSA signature")
    return encode_dss_signature(r, s)
