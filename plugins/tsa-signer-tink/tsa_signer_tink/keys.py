"""Private keys out of Tink's key protos, with the digest and padding that the key was made for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.message import DecodeError
from tink.proto import common_pb2, ecdsa_pb2, ed25519_pb2, ml_dsa_pb2, rsa_ssa_pkcs1_pb2, rsa_ssa_pss_pb2

from tsa_core.api import ConfigError, PrivateKey

_PREFIX: Final = "type.googleapis.com/google.crypto.tink."
_DIGESTS: Final = {common_pb2.SHA256: "sha256", common_pb2.SHA384: "sha384", common_pb2.SHA512: "sha512"}
_DIGEST_SIZES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
_CURVES: Final[dict[int, type[ec.EllipticCurve]]] = {
    common_pb2.NIST_P256: ec.SECP256R1,
    common_pb2.NIST_P384: ec.SECP384R1,
    common_pb2.NIST_P521: ec.SECP521R1,
}
_ML_DSA: Final[dict[int, tuple[Any, Any]]] = {
    ml_dsa_pb2.ML_DSA_44: (mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey),
    ml_dsa_pb2.ML_DSA_65: (mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey),
    ml_dsa_pb2.ML_DSA_87: (mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey),
}


@dataclass(frozen=True, kw_only=True)
class TinkKey:
    """A key of a keyset; `digest` is None where the kind of key fixes it."""

    private_key: PrivateKey = field(repr=False)
    key_id: int
    digest: str | None
    rsa_pss: bool = False


class _Damaged(Exception):
    """What the proto holds is no key; the text says which part."""


def load_key(key: Any, where: str) -> TinkKey:
    """Return what a tink_pb2.Keyset.Key holds; raises ConfigError for a kind that cannot sign, or a damaged key."""
    kind = key.key_data.type_url.removeprefix(_PREFIX)
    load = _LOADERS.get(kind)
    if load is None:
        raise ConfigError(
            f"the keyset's primary key {key.key_id} is of the type {kind or 'none'}, which cannot sign timestamps; "
            "make a keyset with 'timestamp-server tink create-keyset --key-template ECDSA_P256'",
            path=where,
        )
    try:
        private_key, public_bytes, digest, rsa_pss = load(key.key_data.value)
        # The public half stands in the proto too. A difference is damage, or somebody's work.
        if _public_bytes(private_key) != public_bytes:
            raise _Damaged("its public half is of another key")
    except _Damaged as error:
        raise ConfigError(f"the keyset's primary key {key.key_id} ({kind}): {error}", path=where) from None
    except (DecodeError, ValueError, TypeError):
        # These texts might quote the key, so they are not repeated.
        raise ConfigError(f"the keyset's primary key {key.key_id} ({kind}) is damaged", path=where) from None
    return TinkKey(private_key=private_key, key_id=key.key_id, digest=digest, rsa_pss=rsa_pss)


_Loaded = tuple[PrivateKey, bytes, str | None, bool]
"""The key, the public half that the proto states, digest, whether PSS."""


def _public_bytes(key: PrivateKey) -> bytes:
    return _spki(key.public_key())


def _spki(public_key: Any) -> bytes:
    encoded: bytes = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _ecdsa(value: bytes) -> _Loaded:
    # Whether Tink would write signatures as DER or as r||s is its own matter: CMS wants DER.
    proto = _parse(ecdsa_pb2.EcdsaPrivateKey, value)
    params = proto.public_key.params
    if params.curve not in _CURVES:
        raise _Damaged(f"its curve {params.curve} is not P-256, P-384 or P-521")
    curve = _CURVES[params.curve]()
    point = ec.EllipticCurvePublicNumbers(_number(proto.public_key.x), _number(proto.public_key.y), curve)
    private_key = ec.derive_private_key(_number(proto.key_value), curve)
    return private_key, _spki(point.public_key()), _digest(params.hash_type), False


def _ed25519(value: bytes) -> _Loaded:
    proto = _parse(ed25519_pb2.Ed25519PrivateKey, value)
    private_key = ed25519.Ed25519PrivateKey.from_private_bytes(proto.key_value)
    public_key = ed25519.Ed25519PublicKey.from_public_bytes(proto.public_key.key_value)
    return private_key, _spki(public_key), None, False


def _ml_dsa(value: bytes) -> _Loaded:
    proto = _parse(ml_dsa_pb2.MlDsaPrivateKey, value)
    instance = proto.public_key.params.ml_dsa_instance
    if instance not in _ML_DSA:
        raise _Damaged("its parameter set is not ML-DSA-44, -65 or -87")
    private_kind, public_kind = _ML_DSA[instance]
    public_key = public_kind.from_public_bytes(proto.public_key.key_value)
    return private_kind.from_seed_bytes(proto.key_value), _spki(public_key), None, False


def _rsa_pkcs1(value: bytes) -> _Loaded:
    proto = _parse(rsa_ssa_pkcs1_pb2.RsaSsaPkcs1PrivateKey, value)
    return *_rsa(proto), _digest(proto.public_key.params.hash_type), False


def _rsa_pss(value: bytes) -> _Loaded:
    proto = _parse(rsa_ssa_pss_pb2.RsaSsaPssPrivateKey, value)
    params = proto.public_key.params
    digest = _digest(params.sig_hash)
    if params.mgf1_hash != params.sig_hash or params.salt_length != _DIGEST_SIZES[digest]:
        raise _Damaged("PSS with another digest for MGF1 or another salt length than the digest's is not supported")
    return *_rsa(proto), digest, True


def _rsa(proto: Any) -> tuple[rsa.RSAPrivateKey, bytes]:
    public = rsa.RSAPublicNumbers(_number(proto.public_key.e), _number(proto.public_key.n))
    numbers = rsa.RSAPrivateNumbers(
        p=_number(proto.p),
        q=_number(proto.q),
        d=_number(proto.d),
        dmp1=_number(proto.dp),
        dmq1=_number(proto.dq),
        iqmp=_number(proto.crt),
        public_numbers=public,
    )
    return numbers.private_key(), _spki(public.public_key())


def _parse(kind: Any, value: bytes) -> Any:
    proto = kind.FromString(value)
    if proto.version != 0:
        raise _Damaged(f"its version {proto.version} is newer than what is known here")
    return proto


def _digest(hash_type: int) -> str:
    if hash_type not in _DIGESTS:
        name = common_pb2.HashType.Name(hash_type) if hash_type in common_pb2.HashType.values() else hash_type
        raise _Damaged(f"its digest {name} is not SHA-256, SHA-384 or SHA-512")
    return _DIGESTS[hash_type]


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


_LOADERS: Final[dict[str, Callable[[bytes], _Loaded]]] = {
    "EcdsaPrivateKey": _ecdsa,
    "Ed25519PrivateKey": _ed25519,
    "MlDsaPrivateKey": _ml_dsa,
    "RsaSsaPkcs1PrivateKey": _rsa_pkcs1,
    "RsaSsaPssPrivateKey": _rsa_pss,
}
