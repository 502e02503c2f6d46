"""The bytes of requests, right and wrong: what `protocol.request` never writes is written here."""

from __future__ import annotations

import hashlib
from typing import Final

from tsa_core.protocol import der
from tsa_core.protocol.hashes import SHA256

DIGEST: Final = hashlib.sha256(b"tsa-core probe").digest()
UNKNOWN_HASH: Final = "2.25.147264037196285731047912846120394857213"
"""An identifier made of a random UUID: no hash has it."""
FOREIGN_POLICY: Final = "2.25.254120369871203698547125896325874112369"
"""Likewise: no authority has this policy."""
UNKNOWN_EXTENSION: Final = "2.25.198745632101478523690147852369874563210"

GRANTED_VERSION: Final = 1


def request(
    *,
    hash_oid: str = SHA256.oid,
    digest: bytes = DIGEST,
    parameters: bytes = der.null(),
    version: int = GRANTED_VERSION,
    policy: str | None = None,
    nonce: int | None = None,
    cert_req: bytes = b"",
    extensions: bytes = b"",
) -> bytes:
    """Return the DER of a TimeStampReq; `cert_req` is an encoded BOOLEAN, `extensions` encoded Extension values."""
    return der.sequence(
        der.integer(version),
        der.sequence(der.sequence(der.oid(hash_oid), parameters), der.octet_string(digest)),
        der.oid(policy) if policy is not None else b"",
        der.integer(nonce) if nonce is not None else b"",
        cert_req,
        der.explicit(0, extensions) if extensions else b"",
    )


def extension(*, critical: bool) -> bytes:
    """Return an Extension that no server knows."""
    return der.sequence(
        der.oid(UNKNOWN_EXTENSION), der.boolean(True) if critical else b"", der.octet_string(b"\x05\x00")
    )


def content_of(body: bytes) -> bytes:
    """Return what is in a request: its fields, without the tag and length around them."""
    return body[der.read(body, 0, len(body))[1] :]


def indefinite(body: bytes) -> bytes:
    """Return a request whose outer length is indefinite, as BER allows and DER does not."""
    return b"\x30\x80" + content_of(body) + b"\x00\x00"


def long_length(body: bytes) -> bytes:
    """Return a request whose outer length has one octet more than it needs."""
    content = content_of(body)
    return b"\x30\x82" + len(content).to_bytes(2, "big") + content


def chunked(body: bytes) -> bytes:
    """Return a body in two chunks (RFC 9112 7.1)."""
    half = len(body) // 2
    parts = (body[:half], body[half:])
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
