"""Rules for a request's head that hyper, inside granian, does not have (RFC 9112).

hyper refuses heads of more than 100 lines or beyond `max_header_size`, lengths that differ, and Transfer-Encoding in
HTTP/1.0. Of Content-Length and Transfer-Encoding in one head it may hide the former, so rsgi.py closes the connection
after every request in chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from tsa_core.hosting.http_rules import MAX_LENGTH_DIGITS, is_host
from tsa_core.http.errors import error_body


class Refusal(NamedTuple):
    """What a client is told whose request is refused unread."""

    status: HTTPStatus
    text: str

    def send(self, protocol: Any, *, http2: bool) -> None:
        """Send the reply; an HTTP/1 connection is closed after it."""
        content = error_body(self.status.value, self.text)
        headers = [("content-type", "application/json"), ("content-length", str(len(content)))]
        protocol.response_bytes(self.status.value, headers if http2 else [*headers, ("connection", "close")], content)


def check_head(environ: Mapping[str, Any], *, http2: bool) -> Refusal | None:
    """Return the refusal of a request; None when it is accepted. `environ` joins headers of one name with commas."""
    host = environ.get("HTTP_HOST")
    if host is None:
        if environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            return Refusal(HTTPStatus.BAD_REQUEST, "the head has no Host (RFC 9112 3.2)")
    elif not is_host(host):
        return Refusal(HTTPStatus.BAD_REQUEST, "the head has several Hosts, or one that is none (RFC 9112 3.2)")
    length = environ.get("CONTENT_LENGTH")
    coding = None if http2 else environ.get("HTTP_TRANSFER_ENCODING")
    if coding is not None:
        if length is not None:
            return Refusal(HTTPStatus.BAD_REQUEST, "the head has Content-Length and Transfer-Encoding (RFC 9112 6.1)")
        if coding.strip(" \t").lower() != "chunked":
            return Refusal(HTTPStatus.NOT_IMPLEMENTED, "the only Transfer-Encoding here is chunked, once")
    elif length is not None and not (length.isascii() and length.isdigit() and len(length) <= MAX_LENGTH_DIGITS):
        return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request body is too large")
    return None
