"""Building a TimeStampReq for an artifact or its digest (RFC 3161 2.4.1)."""

from __future__ import annotations

import secrets
from typing import Final, TypedDict, Unpack

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


class RequestArguments(TypedDict, total=False):
    """What a request asks for: about an `artifact` or about its `digest`, which is bytes.

    `artifact` is a path (`str` or `os.PathLike`), bytes, or a file that is open for reading bytes.

    `hash_name` is sha256 unless given. `nonce` True, as when it is not given, makes a new one of 64 random bits; a
    number is used as it is; False sends none. `certificate` is certReq, True unless given: the reply then holds the
    signer's certificate. `policy` is a dotted identifier.
    """

    artifact: Octets | None
    digest: bytes | None
    hash_name: str
    nonce: bool | int
    certificate: bool
    policy: str | None


def build_request(**arguments: Unpack[RequestArguments]) -> bytes:
    """Return the DER of a request; raises RequestError."""
    if unknown := arguments.keys() - RequestArguments.__optional_keys__:
        raise TypeError(f"a request has no argument {min(unknown)!r}")
    algorithm = strong_hash(arguments.get("hash_name", "sha256"))
    artifact, digest = arguments.get("artifact"), arguments.get("digest")
    if (artifact is None) == (digest is None):
        raise TypeError("a request is about either an artifact or a digest")
    if artifact is not None:
        digest = hash_artifact(artifact, algorithm)
    elif not isinstance(digest, bytes | bytearray | memoryview):
        raise TypeError(f"the digest must be bytes, not {type(digest).__name__}; bytes.fromhex reads hexadecimal")
    assert digest is not None  # noqa: S101 - one of the two was given
    nonce = arguments.get("nonce", True)
    if nonce is True:
        number: int | None = secrets.randbits(NONCE_BITS - 1) | 1 << (NONCE_BITS - 1)
    else:
        number = None if nonce is False else nonce
    try:
        return encode_request(
            algorithm=algorithm,
            digest=digest,
            policy=arguments.get("policy"),
            nonce=number,
            cert_req=arguments.get("certificate", True),
        )
    except EncodingError as error:
        raise RequestError(str(error)) from None
