"""Says why a signature does not verify, from the mistakes that plugins make."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tsa_core.api import Signer

_NOT_DER = "an ECDSA signature must be DER ECDSA-Sig-Value, SEQUENCE { r INTEGER, s INTEGER }"


def explain(signer: Signer, signature: bytes, message: bytes) -> str:
    """Return one line on why `signature` of `message` does not verify under the signer's own public key."""
    algorithm, key = signer.algorithm, signer.public_key
    what = f"the {algorithm.name} signature of a message of {len(message)} bytes does not verify under public_key"
    if algorithm.is_valid(key, signature, algorithm.digest.digest(message)):
        return f"{what}: it is one of the message's digest, so the message is hashed twice; hand the backend a digest"
    if algorithm.scheme == "ecdsa" and not is_dss_signature(signature):
        half = len(signature) // 2
        r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
        if algorithm.is_valid(key, encode_dss_signature(r, s), message):
            return f"{what}: it is the raw r||s; {_NOT_DER}, so encode it with encode_dss_signature(r, s)"
        return f"{what}: {_NOT_DER}"
    for size in (32, 64, 1024, 2048, 4096):
        if len(message) > size and algorithm.is_valid(key, signature, message[:size]):
            return f"{what}: only its first {size} bytes were signed"
    return (
        f"{what}: another key, another digest than {algorithm.digest.name} or another padding signed it, or "
        "another message did because two threads shared it"
    )


def is_dss_signature(signature: bytes) -> bool:
    """Say whether `signature` is DER of an ECDSA-Sig-Value."""
    try:
        decode_dss_signature(signature)
    except ValueError:
        return False
    return True
