"""Rules for a request's head that waitress does not have: RFC 9112, and limits for a public server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from tsa_core.hosting.http_rules import MAX_HEADER_LINES, MAX_LENGTH_DIGITS, is_host
from tsa_core.hosting.waitress.refusals import Refusal

_CODINGS = re.compile(rb"\ntransfer-encoding:([^\r\n]*)")


def check_lines(head: bytes) -> Refusal | None:
    """Return the refusal of a head before it is parsed; None when it may be.

    waitress joins headers of one name, which takes time that grows with the square of their number.
    """
    if head.count(b"\n") > MAX_HEADER_LINES + 2:  # and the request line, and the blank one
        return Refusal(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head has more than {MAX_HEADER_LINES} header lines"
        )
    if b"\n " in head or b"\n\t" in head:
        return Refusal(HTTPStatus.BAD_REQUEST, "a header is continued on the next line (RFC 9112 5.2)")
    lower = head.lower()
    if b"\ntransfer-encoding:" not in lower:
        return None
    if b"\ncontent-length:" in lower:
        return Refusal(HTTPStatus.BAD_REQUEST, "the head has Content-Length and Transfer-Encoding (RFC 9112 6.1)")
    codings = [each.strip(b" \t") for line in _CODINGS.findall(lower) for each in line.split(b",")]
    if codings == [b"chunked"]:
        return None
    if set(codings) <= {b"chunked", b""}:
        return Refusal(HTTPStatus.BAD_REQUEST, "Transfer-Encoding is not chunked, once (RFC 9112 6.1)")
    return Refusal(HTTPStatus.NOT_IMPLEMENTED, "the only Transfer-Encoding here is chunked")


def check_fields(version: str, headers: Mapping[str, str], *, chunked: bool) -> Refusal | None:
    """Return the refusal of a parsed head; None when it is accepted."""
    if not version:
        return Refusal(HTTPStatus.BAD_REQUEST, "the request line has no HTTP version")
    if version not in {"1.0", "1.1"}:
        return Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1 and HTTP/1.0")
    if "TRANSFER_ENCODING" in headers:
        return Refusal(HTTPStatus.BAD_REQUEST, "HTTP/1.0 has no Transfer-Encoding (RFC 9112 6.1)")
    host = headers.get("HOST")
    if host is None and version == "1.1":
        return Refusal(HTTPStatus.BAD_REQUEST, "the head has no Host (RFC 9112 3.2)")
    if host is not None and not is_host(host):
        return Refusal(HTTPStatus.BAD_REQUEST, "the head has several Hosts, or one that is none (RFC 9112 3.2)")
    if not chunked and len(headers.get("CONTENT_LENGTH", "")) > MAX_LENGTH_DIGITS:
        return too_long()
    return None


def too_long() -> Refusal:
    """Return the refusal of a body whose length is beyond everything."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request body is too large")
