"""Requests that break HTTP, or stay within it to cost more than they weigh, over real sockets: each is refused unread.

The rules are RFC 9112's, and the limits those of docs/operate/hostile.md. In granian hyper applies most of them itself.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator

import pytest

from tests.hostile.attack import GOOD, KINDS, PATH, REQUEST, Reply, Target, head, replies, served

pytestmark = [pytest.mark.plugin("memory"), pytest.mark.package("granian")]

CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(REQUEST), REQUEST)
LENGTH = f"Content-Length: {len(REQUEST)}"


@pytest.fixture(scope="module", params=list(KINDS))
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with served(request.param, tmp_path_factory.mktemp("tls")) as one:
        yield one


def hosts(*values: str, version: str = "HTTP/1.1") -> bytes:
    """Return a request with these Host headers and no other."""
    lines = [f"POST {PATH} {version}", *(f"Host: {value}" for value in values), LENGTH]
    return "\r\n".join([*lines, "Content-Type: application/timestamp-query", "", ""]).encode() + REQUEST


def refused(target: Target, data: bytes) -> Reply:
    """Send a request that must be refused, and its connection closed; return the only reply."""
    received, closed = target.exchange_until(data + GOOD)
    (reply,) = replies(received)
    assert closed
    assert reply.headers.get("connection", "close") == "close"
    return reply


def accepted(target: Target, data: bytes) -> None:
    """Send a request that must be answered, with another behind it."""
    with target.connect() as connection:
        connection.sendall(data + GOOD)
        received = b""
        while len([each for each in whole(received) if each.status == 200]) < 2:
            part = connection.recv(65536)
            assert part, received
            received += part


def whole(received: bytes) -> list[Reply]:
    """Return the replies that have come whole."""
    try:
        return [each for each in replies(received) if len(each.body) == int(each.headers.get("content-length", "0"))]
    except (AssertionError, ValueError, IndexError):
        return []


def test_a_hundred_header_lines_are_enough(target: Target) -> None:
    lines = [f"X-{number}: y" for number in range(97)]
    accepted(target, head(*lines, LENGTH) + REQUEST)
    assert refused(target, head("X: y", *lines, LENGTH) + REQUEST).status == 431


def test_equal_names_are_counted_before_they_are_joined(target: Target) -> None:
    """15,992 of them, in 64 KiB, took waitress 186 ms of its only thread."""
    assert refused(target, head(*["X: y"] * 2000, LENGTH) + REQUEST).status == 431


def test_a_head_has_sixteen_kibibytes(target: Target) -> None:
    accepted(target, head("X: " + "y" * 15_000, LENGTH) + REQUEST)
    received, closed = target.exchange_until(head("X: " + "y" * 20_000, LENGTH) + REQUEST)
    assert closed
    assert [each.status for each in replies(received)] in ([431], [])


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
        (LENGTH, "Transfer-Encoding: chunked"),
    ],
    ids=["short length first", "coding first", "length first"],
)
def test_a_body_framed_in_two_ways_ends_the_connection(target: Target, lines: tuple[str, ...]) -> None:
    """hyper hides the length, so granian answers by the chunks, and closes: RFC 9112 6.1 allows that too."""
    reply = refused(target, head(*lines) + CHUNKED)
    assert reply.status in ({400} if target.name == "waitress" else {200, 400})


@pytest.mark.parametrize(
    "data",
    [
        head("Transfer-Encoding: chunked") + CHUNKED,
        head("Transfer-Encoding: Chunked", path="/nowhere") + CHUNKED,
        head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\nX: trailer\r\n\r\n",
    ],
    ids=["granted", "not found", "refused"],
)
def test_granian_reads_nothing_after_chunks(target: Target, data: bytes) -> None:
    """Any request in chunks may have had a length that hyper hides, so it is the last one of its connection."""
    if target.name == "waitress":
        accepted(target, GOOD + data)  # it sees both headers, and refuses them
        return
    received, closed = target.exchange_until(data + GOOD)
    assert closed
    (reply,) = replies(received)
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize("more", [(), ("Content-Length: 5",)], ids=["alone", "with a length"])
def test_http_1_0_has_no_transfer_encoding(target: Target, more: tuple[str, ...]) -> None:
    data = head("Connection: keep-alive", "Transfer-Encoding: chunked", *more, version="HTTP/1.0") + CHUNKED
    assert refused(target, data).status == 400


@pytest.mark.parametrize("value", ["gzip, chunked", "chunked, chunked", "xchunked", "gzip", "identity", ""])
def test_the_only_coding_is_chunked_once(target: Target, value: str) -> None:
    assert refused(target, head(f"Transfer-Encoding: {value}") + CHUNKED).status in {400, 501}


def test_there_is_one_host(target: Target) -> None:
    accepted(target, hosts("tsa.example:3000"))
    accepted(target, hosts("[2001:db8::1]:3000"))
    accepted(target, hosts(""))
    for wrong in ((), ("a", "b"), ("a", "a"), ("a, b",), ("a b",), ("a/b",), ("a@b",)):
        assert refused(target, hosts(*wrong)).status == 400, wrong


def test_http_1_0_needs_no_host_and_has_one_at_most(target: Target) -> None:
    received, closed = target.exchange_until(hosts(version="HTTP/1.0"))
    assert [each.status for each in replies(received)] == [200]
    assert closed
    assert refused(target, hosts("a", "b", version="HTTP/1.0")).status == 400


@pytest.mark.parametrize("digits", ["9" * 19, "9" * 5000, "0" * 5000])
def test_a_length_of_many_digits_is_no_length(target: Target, digits: str) -> None:
    assert refused(target, head(f"Content-Length: {digits}")).status in {400, 413}


def test_a_request_in_chunks_of_one_octet_is_a_request(target: Target) -> None:
    data = head("Transfer-Encoding: chunked") + b"".join(b"1\r\n%c\r\n" % o for o in REQUEST) + b"0\r\n\r\n"
    if target.name == "waitress":
        accepted(target, data)
    else:
        assert [each.status for each in replies(target.exchange_until(data)[0])] == [200]


def test_a_body_of_tiny_chunks_is_refused(target: Target) -> None:
    """Each costs a step of Python; the limit grows with the octets that there are."""
    data = head("Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 20_000
    received, closed = target.exchange_until(data + b"0\r\n\r\n")
    assert closed
    assert [each.status for each in replies(received)] in ([400], [])


@pytest.mark.parametrize("declared", [70_000, 10**9])
def test_a_body_has_sixty_four_kibibytes(target: Target, declared: int) -> None:
    with target.connect() as connection:
        with contextlib.suppress(OSError):  # it may close before it has got everything
            connection.sendall(head(f"Content-Length: {declared}") + bytes(70_000 if declared == 70_000 else 0))
        assert connection.recv(12) == b"HTTP/1.1 413"
    accepted(target, head("Content-Length: 65536") + bytes(65536))


def test_a_chunk_beyond_the_limit_is_refused(target: Target) -> None:
    with target.connect() as connection:
        with contextlib.suppress(OSError):  # it may close before it has got everything
            connection.sendall(head("Transfer-Encoding: chunked") + b"11170\r\n" + bytes(70_000))
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_client_may_continue_only_when_its_head_is_accepted(target: Target) -> None:
    expect = "Expect: 100-continue"
    with target.connect() as connection:
        connection.sendall(head(LENGTH, expect))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(REQUEST)
        assert connection.recv(12) == b"HTTP/1.1 200"
    assert refused(target, head("Content-Length: 70000", expect)).status == 413
    assert refused(target, head("Content-Length: 1000000", expect)).status == 413
    assert refused(target, hosts().replace(b"\r\n\r\n", f"\r\n{expect}\r\n\r\n".encode())).status == 400
    assert refused(target, head(LENGTH, "Transfer-Encoding: gzip", expect)).status in {400, 501}


def test_who_expects_to_continue_without_a_body_is_answered(target: Target) -> None:
    accepted(target, head("Content-Length: 0", "Expect: 100-continue"))


@pytest.mark.parametrize("version", ["HTTP/9.9", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/1.x", ""])
def test_other_versions_are_refused(target: Target, version: str) -> None:
    received, closed = target.exchange_until(head(LENGTH, version=version) + REQUEST + GOOD)
    assert closed
    assert [each.status for each in replies(received)] in ([400], [505], [])


@pytest.mark.parametrize("line", ["X: a\r\n b", "X: a\rb", "X: a\0b", "X : a", ": a", "X"])
def test_a_line_that_is_no_header_is_refused(target: Target, line: str) -> None:
    assert refused(target, head(line, LENGTH) + REQUEST).status == 400


def test_a_connection_is_closed_for_whoever_lists_that(target: Target) -> None:
    received, closed = target.exchange_until(head("Connection: x, Close", LENGTH) + REQUEST + GOOD)
    assert [each.status for each in replies(received)] == [200]
    assert closed


def test_what_is_refused_leaves_no_traceback_and_answers_in_json(target: Target) -> None:
    reply = refused(target, hosts("a", "b"))
    assert reply.headers["content-type"] == "application/json"
    assert json.loads(reply.body) == {
        "code": 400,
        "message": "the head has several Hosts, or one that is none (RFC 9112 3.2)",
    }
    assert refused(target, b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n").status == 400
    assert "Traceback" not in target.server.log
    assert not re.search(r"\[(error|critical)", target.server.log), target.server.log


def test_one_blank_line_before_a_request_is_forgiven(target: Target) -> None:
    """Old clients send one behind a body. Of more waitress makes a request that is refused, and hyper nothing."""
    accepted(target, b"\r\n" + GOOD)
    if target.name == "waitress":
        assert refused(target, b"\r\n\r\n").status == 400


CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(1, 240))


@pytest.mark.parametrize("size", [1, 5, len(CLIENT_HELLO)])
def test_a_tls_handshake_where_plain_http_is_spoken_is_refused_at_once(target: Target, size: int) -> None:
    """It has no blank line: who answers nothing keeps a client that was given https for http until it gives up."""
    if target.scheme == "http":
        received, closed = target.exchange_until(CLIENT_HELLO[:size])
        assert closed
        (reply,) = replies(received)
        assert reply.status == 400
        if target.name == "waitress":
            assert json.loads(reply.body)["message"] == "this is TLS, and plain HTTP is spoken here"
    accepted(target, GOOD.replace(REQUEST, b"\x16" + REQUEST[1:]))
