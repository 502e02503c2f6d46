"""Which weak or unusual things a token that holds relies on, so that a verdict can say what was allowed for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtensionOID

from tsa_core.paths.building import Path
from tsa_core.paths.certificate import PathCertificate
from tsa_core.protocol.hashes import HashAlgorithm
from tsa_core.protocol.signatures import MIN_RSA_BITS
from tsa_core.verify.signed_data import SignedToken
from tsa_core.verify.tolerances import MD5, NONCRITICAL_EKU, RSA1024, SHA1

_WEAK_HASHES = frozenset({SHA1, MD5})


class Weakness(NamedTuple):
    """One use of something that only an allowance or a proof makes acceptable; `name` is the allowance's."""

    name: str
    where: str
    certificate: bytes | None = None
    """The certificate whose signature is weak; None for what is in the token itself, and for keys."""


def find_weaknesses(signed: SignedToken, imprint: HashAlgorithm, path: Path) -> tuple[Weakness, ...]:
    """Return every weak algorithm that the token and its path rely on, and an extended key usage out of order."""
    return tuple(_in_token(signed, imprint)) + tuple(_in_path(path))


def _in_token(signed: SignedToken, imprint: HashAlgorithm) -> Iterator[Weakness]:
    for name, where in ((imprint.name, "the message imprint"), (signed.digest.name, "the message digest")):
        if name in _WEAK_HASHES:
            yield Weakness(name, where)
    for name in dict.fromkeys(signed.scheme.hash_names):
        if name in _WEAK_HASHES:
            yield Weakness(name, "the token's signature")


def _in_path(path: Path) -> Iterator[Weakness]:
    for certificate in path.certificates[:-1]:
        name = _signature_hash(certificate)
        if name in _WEAK_HASHES:
            yield Weakness(name, f"the signature on {certificate}", certificate.der)
    for certificate in path.certificates:
        key = certificate.certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
            yield Weakness(RSA1024, f"the key of {certificate}, {key.key_size} bits")
    purpose = path.signer.extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
    if purpose is not None and not purpose.critical:
        yield Weakness(NONCRITICAL_EKU, f"the extended key usage of {path.signer}")


def _signature_hash(certificate: PathCertificate) -> str:
    try:
        algorithm = certificate.certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ""
    return algorithm.name if algorithm is not None else ""
