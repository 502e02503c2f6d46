"""waitress's bodies: in memory, never in a file, and read the same however they are cut into segments."""

from __future__ import annotations

import math
import socket
import tempfile
from typing import NoReturn

import pytest

from tests.hostile.attack import REQUEST, head, replies
from tests.serving import running_server
from tsa_core.hosting.waitress.body import ChunkedBody, FixedBody

WHOLE = b"3\r\nabc\r\n1;name=value\r\nd\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
BODY = b"abcd0123456789"
NEXT = b"GET / HTTP/1.1\r\n"


def feed(body: ChunkedBody | FixedBody, data: bytes, size: int) -> bytes:
    """Give a body segments of a size, as waitress does; return what it left of them."""
    while data and not (body.completed or body.error):
        taken = body.received(data[:size])
        assert 0 < taken <= size
        data = data[taken:]
    return data


@pytest.mark.parametrize("size", range(1, len(WHOLE) + len(NEXT)))
def test_a_chunked_body_ends_where_it_ends(size: int) -> None:
    body = ChunkedBody(100)
    assert feed(body, WHOLE + NEXT, size) == NEXT
    assert body.completed
    assert body.getfile().read() == BODY
    assert len(body) == len(BODY)


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_a_body_of_a_declared_length_ends_there(size: int) -> None:
    body = FixedBody(len(BODY), math.inf)
    assert feed(body, BODY + NEXT, size) == NEXT
    assert body.getfile().read() == BODY


def test_a_body_beyond_the_limit_is_not_kept() -> None:
    body = FixedBody(1000, 999)
    assert feed(body, bytes(1000) + NEXT, 100) == NEXT
    assert (body.completed, body.getfile().read()) == (True, b"")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"3\r\nabcd\r\n", 400),
        (b"3\r\nabc\n0\r\n\r\n", 400),
        (b"3\nabc\r\n0\r\n\r\n", 400),
        (b"-3\r\nabc\r\n", 400),
        (b"+3\r\nabc\r\n", 400),
        (b" 3\r\nabc\r\n", 400),
        (b"0x3\r\nabc\r\n", 400),
        (b"\r\n3\r\nabc\r\n", 400),
        (b"3\r;\r\nabc\r\n", 400),
        (b"f" * 16 + b"\r\n", 400),
        (b"0" * 300 + b"3\r\nabc\r\n", 400),
        (b"3;" + b"x" * 300 + b"\r\nabc\r\n", 400),
        (b"3;" + b"x" * 10_000, 400),
        (b"0\r\n" + b"X: y\r\n" * 1000, 400),
        (b"0\r\n" + b"x" * 10_000, 400),
        (b"1\r\nx\r\n" * 300, 400),
        (b"3e9\r\n", 413),
        (b"1f4\r\n" + bytes(500) + b"\r\n1f4\r\n" + bytes(500) + b"\r\n1\r\nx\r\n", 413),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 20_000])
def test_a_chunked_body_that_is_none_is_refused(data: bytes, status: int, size: int) -> None:
    body = ChunkedBody(1000)
    feed(body, data, size)
    assert body.error is not None
    assert body.error.code == status
    assert not body.completed


def test_more_chunks_are_allowed_for_more_octets() -> None:
    body = ChunkedBody(math.inf)
    for _ in range(1000):
        body.received(b"200\r\n" + bytes(512) + b"\r\n")
    assert body.error is None


def test_no_body_needs_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a read-only system without /tmp a temporary file is an error."""

    def no_disk(*_: object, **__: object) -> NoReturn:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_disk)
    with running_server(max_request_body_size=2_000_000) as server:
        for size in (10_000, 1_000_000, 2_000_000):
            assert server.post(bytes(size)).status == 200
        assert server.post(bytes(2_000_001)).status == 413
        assert server.post(REQUEST).status == 200


def test_replies_that_are_not_read_hold_up_the_next_requests_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """270 requests for a page fit into one segment; waitress would put all replies into memory, then on the disk."""
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    page = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    with running_server() as server, socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(page * 200 + head("Connection: close", f"Content-Length: {len(REQUEST)}") + REQUEST)
        received = b""
        while part := connection.recv(65536):
            received += part
    assert [each.status for each in replies(received)] == [200] * 201
