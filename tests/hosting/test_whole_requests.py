"""A request that comes at once, with a header block that is known, is taken as it is: the same as octet by octet."""

from __future__ import annotations

import socket

import pytest
from waitress.adjustments import Adjustments

from tests.serving import running_server
from tsa_core.hosting.waitress.request import Parser
from tsa_core.testing import encode_request

BODY = encode_request()
_OWN = {"began", "header_plus", "body_rcv", "cached", "header_bytes_received", "body_bytes_received"}


def head(length: int, method: str = "POST", *lines: str) -> bytes:
    more = "".join(f"{line}\r\n" for line in lines)
    return f"{method} /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n".encode()


@pytest.fixture
def adjustments() -> Adjustments:
    found = Adjustments()
    found.max_body = 1000
    return found


def parsed(adjustments: Adjustments, data: bytes) -> Parser:
    """Return what waitress makes of octets that come one by one; the header block is known then."""
    request = Parser(adjustments)
    for octet in data:
        request.received(bytes([octet]))
    assert request.completed
    return request


@pytest.mark.parametrize(
    "data",
    [head(3) + b"abc", head(0), head(0, "GET"), head(3, "POST", "Connection: close", "X-Request-Id: 7") + b"abc"],
    ids=["body", "empty", "get", "last"],
)
def test_it_is_what_the_parser_makes_of_it(adjustments: Adjustments, data: bytes) -> None:
    slow = parsed(adjustments, data)
    whole = Parser.whole(adjustments, data)
    assert whole is not None
    assert whole.get_body_stream().read() == slow.get_body_stream().read()
    attributes = {name: value for name, value in vars(slow).items() if name not in _OWN}
    assert {name: vars(whole).get(name) for name in attributes} == attributes
    assert whole.headers is not slow.headers


def test_what_is_no_whole_request_is_left_to_the_parser(adjustments: Adjustments) -> None:
    known = head(3)
    parsed(adjustments, known + b"abc")
    for data in (known + b"ab", known + b"abcd", known, known[:-1], b"\r\n" + known + b"abc", b"", b"\r\n\r\n"):
        assert Parser.whole(adjustments, data) is None, data
    assert Parser.whole(adjustments, head(3, "PUT") + b"abc") is None, "its head is new"


def test_a_body_above_the_limit_is_left_to_the_parser(adjustments: Adjustments) -> None:
    parsed(adjustments, head(1001) + bytes(1001))
    assert Parser.whole(adjustments, head(1001) + bytes(1001)) is None


def test_whole_requests_and_those_in_pieces_follow_one_another() -> None:
    request = (
        b"POST /api/v1/timestamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/timestamp-query\r\n"
        b"Content-Length: %d\r\n\r\n" % len(BODY)
    ) + BODY
    with running_server() as server, socket.create_connection(server.address, 30) as stream:
        for pieces in (
            (request,),
            (request[:50], request[50:]),
            (request, request),
            (request + request[:9], request[9:]),
        ):
            for piece in pieces:
                stream.sendall(piece)
            for _ in range(max(1, b"".join(pieces).count(b"POST"))):
                assert b"\x30\x03\x02\x01\x00" in reply(stream)


def reply(stream: socket.socket) -> bytes:
    """Return the body of the next reply."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += stream.recv(1)
    length = int(received.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += stream.recv(length - len(body))
    return body
