"""A strict decoder of requests that shares nothing with ours: cryptography's declarative ASN.1, which is Rust."""

from __future__ import annotations

from typing import Annotated

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier


@asn1.sequence
class AlgorithmIdentifier:
    algorithm: ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class MessageImprint:
    hash_algorithm: AlgorithmIdentifier
    hashed_message: bytes


@asn1.sequence
class Extension:
    extn_id: ObjectIdentifier
    critical: Annotated[bool, asn1.Default(False)]
    extn_value: bytes


@asn1.sequence
class StrictRequest:
    version: int
    message_imprint: MessageImprint
    req_policy: ObjectIdentifier | None
    nonce: int | None
    cert_req: Annotated[bool, asn1.Default(False)]
    extensions: Annotated[list[Extension] | None, asn1.Implicit(0)]


def decode(data: bytes) -> StrictRequest | None:
    """Return the request, None when it is not DER of one that RFC 3161 and our bounds allow."""
    try:
        request = asn1.decode_der(StrictRequest, data)
    except ValueError:
        return None
    nonce, extensions = request.nonce, request.extensions
    if request.version != 1 or len(request.message_imprint.hashed_message) > 1024:
        return None
    if nonce is not None and not -(2**511) <= nonce < 2**512:
        return None
    if extensions is not None:
        identifiers = [extension.extn_id for extension in extensions]
        if not 1 <= len(identifiers) <= 32 or len(set(identifiers)) != len(identifiers):
            return None
    return request
