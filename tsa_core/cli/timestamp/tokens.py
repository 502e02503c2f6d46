"""Timestamps as bytes: replies, bare tokens, and tokens in PEM."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import is_token
from tsa_core.verify.errors import MalformedTimestamp

if TYPE_CHECKING:
    from tsa_core.verify import VerifiedTimestamp, Verifier

_PEM: Final = re.compile(rb"-----BEGIN (PKCS7|CMS)-----([A-Za-z0-9+/=\s]+)-----END \1-----\s*")


def bare_token(data: bytes) -> bytes:
    """Return the TimeStampToken in a TimeStampResp, or the token itself; raises MalformedTimestamp."""
    if is_token(data):
        return data
    try:
        _, start, end = der.read(data, 0, len(data))
        _, _, after = der.read(data, start, end)
    except EncodingError as error:
        raise MalformedTimestamp(f"the reply cannot be read: {error}") from None
    if after == end:
        raise MalformedTimestamp("the reply holds no token")
    return data[after:end]


def verify_with(verifier: Verifier, data: bytes, **about: Any) -> VerifiedTimestamp:
    """Verify a reply or a bare token, whichever it is; `about` is as for Verifier.verify_response and verify_token."""
    return (verifier.verify_token if is_token(data) else verifier.verify_response)(data, **about)


def without_armor(data: bytes) -> bytes:
    """Return the DER in PEM (`PKCS7` or `CMS`, RFC 7468), as some programs write .p7s; anything else as it is."""
    import base64
    import binascii

    found = _PEM.fullmatch(data.lstrip()) if b"-----BEGIN" in data[:100] else None
    if found is None:
        return data
    try:
        return base64.b64decode(b"".join(found[2].split()), validate=True)
    except binascii.Error:
        return data
