"""One version of a key in the stand-in for Azure Key Vault: how it is shown, and how it signs."""

from __future__ import annotations

import base64
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES = {"secp256r1": ("P-256", "ES256"), "secp384r1": ("P-384", "ES384"), "secp521r1": ("P-521", "ES512")}


class VaultKey:
    """One version of a key with what its owner may change."""

    def __init__(self, key: Any, *, operations: tuple[str, ...] = ("sign", "verify"), hsm: bool = False) -> None:
        self.private = key
        self.operations = operations
        self.hsm = hsm
        self.enabled = True
        self.not_before: int | None = None
        self.expires: int | None = None

    def jwk(self, kid: str) -> dict[str, Any]:
        """Return the public half as the service shows it."""
        kind = "-HSM" if self.hsm else ""
        public = self.private.public_key()
        common = {"kid": kid, "key_ops": list(self.operations)}
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            return {**common, "kty": f"RSA{kind}", "n": _integer(numbers.n), "e": _integer(numbers.e)}
        if isinstance(public, ec.EllipticCurvePublicKey):
            point = public.public_numbers()
            size = (public.key_size + 7) // 8
            curve = _CURVES.get(public.curve.name, ("P-256K", ""))[0]
            return {
                **common,
                "kty": f"EC{kind}",
                "crv": curve,
                "x": base64_text(point.x.to_bytes(size, "big")),
                "y": base64_text(point.y.to_bytes(size, "big")),
            }
        return {**common, "kty": "oct-HSM"}

    def sign(self, algorithm: str, digest: bytes) -> bytes:
        """Return the signature; ValueError for an algorithm or digest that does not go with the key."""
        chosen = _HASHES.get(algorithm[2:])
        if chosen is None or len(digest) != chosen.digest_size:
            raise ValueError("the digest does not fit the algorithm")
        if isinstance(self.private, rsa.RSAPrivateKey):
            paddings: dict[str, padding.AsymmetricPadding] = {
                "RS": padding.PKCS1v15(),
                "PS": padding.PSS(padding.MGF1(chosen), chosen.digest_size),
            }
            if algorithm[:2] not in paddings:
                raise ValueError("not an RSA algorithm")
            return self.private.sign(digest, paddings[algorithm[:2]], Prehashed(chosen))
        if _CURVES[self.private.curve.name][1] != algorithm:
            raise ValueError("not this curve's algorithm")
        r, s = decode_dss_signature(self.private.sign(digest, ec.ECDSA(Prehashed(chosen))))
        size = (self.private.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def base64_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _integer(number: int) -> str:
    return base64_text(number.to_bytes((number.bit_length() + 7) // 8, "big"))
