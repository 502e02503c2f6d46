"""Reads a request's body, no longer than allowed."""

from __future__ import annotations

import falcon

_MAX_UNDECLARED_OCTETS = 1_048_576
_MAX_DIGITS = 18
"""No body is as long as a number of more digits says, and Python refuses to read thousands of digits."""


def read_body(request: falcon.Request, limit: int | None) -> bytes:
    """Return the body; raises falcon.HTTPError, 413 for one of more than `limit` bytes. None: no limit."""
    declared = request.env.get("CONTENT_LENGTH")
    if not declared:
        return _read_undeclared_body(request, _MAX_UNDECLARED_OCTETS if limit is None else limit)
    if not (declared.isascii() and declared.isdigit() and len(declared) <= _MAX_DIGITS):
        raise falcon.HTTPError(400, description="Content-Length is not a number of bytes")
    length = int(declared)
    if limit is not None and length > limit:
        raise _too_large(limit)
    return bytes(request.env["wsgi.input"].read(length))


def _read_undeclared_body(request: falcon.Request, limit: int) -> bytes:
    """Read a chunked body from a server that passes the chunks on; waitress collects them first."""
    if not request.env.get("wsgi.input_terminated"):
        return b""  # without a length there is no body (RFC 9112 6.3), and the stream may never end
    body = bytearray()
    while part := request.stream.read(limit + 1 - len(body)):
        body += part
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> falcon.HTTPError:
    return falcon.HTTPContentTooLarge(description=f"the request body is larger than {limit} bytes")
