"""Building a TimeStampReq for an artifact or its digest (RFC 3161 2.4.1)."""

from __future__ import annotations

import secrets
from typing import Final

from tsa_core.protocol.errors import EncodingError, TsaError
from tsa_core.protocol.hashes import HashAlgorithm, hash_by_name
from tsa_core.protocol.request import encode_request
from tsa_core.verify import hash_artifact
from tsa_core.verify.statement import Octets

NONCE_BITS: Final = 64
"""As long as a nonce must be to be unique (RFC 3161 2.4.1), and as every server takes."""


class RequestError(TsaError):
    """The request cannot be built: an unknown or weak hash, or a digest of another length."""


def strong_hash(name: str) -> HashAlgorithm:
    """Return a hash by name, case and dashes ignored; raises RequestError for unknown and weak ones."""
    try:
        algorithm = hash_by_name(name)
    except KeyError:
        raise RequestError(f"{name!r} is not a hash algorithm; use sha256, sha384 or sha512") from None
    if algorithm.weak:
        raise RequestError(f"{algorithm.name} is too weak for a timestamp; use sha256, sha384 or sha512")
    return algorithm


def build_request(
    *,
    artifact: Octets | None = None,
    digest: bytes | None = None,
    hash_name: str = "sha256",
    nonce: bool | int = True,
    certificate: bool = True,
    policy: str | None = None,
) -> bytes:
    """Return the DER of a request about an artifact, in memory or a stream, or about its digest.

    `nonce` True makes a new one of 64 random bits, a number is used as it is, False sends none. `certificate` is
    certReq: the reply then holds the signer's certificate. Raises RequestError.
    """
    algorithm = strong_hash(hash_name)
    if (artifact is None) == (digest is None):
        raise TypeError("a request is about either an artifact or a digest")
    if artifact is not None:
        digest = hash_artifact(artifact, algorithm)
    assert digest is not None  # noqa: S101 - one of the two was given
    if nonce is True:
        number: int | None = secrets.randbits(NONCE_BITS - 1) | 1 << (NONCE_BITS - 1)
    else:
        number = None if nonce is False else nonce
    try:
        return encode_request(algorithm=algorithm, digest=digest, policy=policy, nonce=number, cert_req=certificate)
    except EncodingError as error:
        raise RequestError(str(error)) from None
