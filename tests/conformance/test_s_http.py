"""Rules S28 and S29 on the wire."""

from __future__ import annotations

import http.client
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import thread_time
from typing import Literal

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, refused
from tests.serving import QUERY, REPLY, HttpReply, Parts, Server, TestSigner, running_server
from tsa_core.api import RequestContext
from tsa_core.testing import ends_within

BODY = PlainRequest(nonce=2**63, cert_req=True).encode()
BAD_DATA_FORMAT = "03020204"
PATH = "/api/v1/timestamp"


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(server.address, timeout=30) as connection:
        yield connection


def head(*lines: str, method: str = "POST", version: str = "1.1", path: str = PATH) -> bytes:
    """Return a request's head, with the right content type unless `lines` give one."""
    fields = [f"{method} {path} HTTP/{version}", "Host: tsa.example"]
    if not any(line.lower().startswith("content-type") for line in lines):
        fields.append(f"Content-Type: {QUERY}")
    return "\r\n".join([*fields, *lines, "", ""]).encode("latin-1")


def receive(connection: socket.socket, rest: bytes = b"") -> tuple[HttpReply, bytes]:
    """Read one reply and return it with what came after it."""
    data = rest
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        assert part, data
        data += part
    top, _, data = data.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    names = {name.lower(): value for name, value in headers.items()}
    if first.split()[1] == "100":
        return HttpReply(status=100, headers=names, body=b""), data
    size = int(names["content-length"])
    while len(data) < size:
        part = connection.recv(65536)
        assert part, data
        data += part
    return HttpReply(status=int(first.split()[1]), headers=names, body=data[:size]), data[size:]


def check(reply: HttpReply) -> None:
    """Check a granted reply's head, and that its body is one."""
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/timestamp-reply"
    assert reply.headers["content-length"] == str(len(reply.body))
    assert "transfer-encoding" not in reply.headers
    assert granted(reply.body).tst_info["nonce"].native == 2**63


def test_s28_head_of_a_reply(server: Server) -> None:
    for body, good in ((BODY, True), (b"nonsense", False)):
        reply = server.post(body)
        assert reply.status == 200
        assert reply.headers["content-type"] == REPLY == "application/timestamp-reply"
        assert reply.headers["content-length"] == str(len(reply.body))
        assert "transfer-encoding" not in reply.headers
        assert "no-store" in reply.headers["cache-control"]
        if good:
            granted(reply.body)
        else:
            refused(reply.body, BAD_DATA_FORMAT)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/timestamp-query",
        "Application/Timestamp-Query",
        "application/timestamp-query; charset=binary",
        "application/timestamp-query;x=y",
        " application/timestamp-query ",
    ],
)
def test_s28_content_type_ignores_case_and_parameters(server: Server, content_type: str) -> None:
    check(server.post(BODY, content_type=content_type))


@pytest.mark.parametrize("path", [PATH, PATH + "/", "/tsa/default", "/tsa/default/", PATH + "?x=y"])
def test_s28_paths(server: Server, path: str) -> None:
    check(server.post(BODY, path=path))


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", [PATH, "/tsa/default"])
def test_s28_other_methods_are_405_with_allow(server: Server, method: str, path: str) -> None:
    reply = server.request(method, path, BODY if method in {"PUT", "PATCH"} else None, {"Content-Type": QUERY})
    assert reply.status == 405
    assert "POST" in reply.headers["allow"].split(", ")
    assert method not in reply.headers["allow"].split(", ")
    if method != "HEAD":
        assert reply.json == {"code": 405, "message": "Method Not Allowed"}


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/octet-stream", "application/timestamp-reply", "application/timestamp-query2", ";"],
)
def test_s28_other_types_are_415(server: Server, content_type: str) -> None:
    reply = server.post(BODY, content_type=content_type)
    assert reply.status == 415
    assert reply.headers["content-type"] == "application/json"
    assert reply.json["code"] == 415
    assert "application/timestamp-query" in reply.json["message"]


def test_s28_no_type_is_415(server: Server) -> None:
    assert server.request("POST", PATH, BODY).status == 415


@pytest.mark.parametrize("content_type", [QUERY, "application/json"])
def test_s28_over_the_size_limit_is_413(content_type: str) -> None:
    with running_server(max_request_body_size=100) as server:
        assert server.post(bytes(100), content_type=content_type).status in {200, 400}
        reply = server.post(bytes(101), content_type=content_type)
        assert reply.status == 413
        assert reply.json["code"] == 413
        assert "100 bytes" in reply.json["message"]
        check(server.post(BODY))


def test_s28_far_over_the_size_limit_is_413_unread() -> None:
    """A client that announces a gigabyte is told at once; it need not send it, and nobody stores it."""
    with running_server() as server, connected(server) as connection:
        connection.sendall(head(f"Content-Length: {2**30}"))
        assert receive(connection)[0].status == 413
        check(server.post(BODY))


def test_s28_a_chunked_body_over_the_size_limit_is_413() -> None:
    with running_server(max_request_body_size=1000) as server, connected(server) as connection:
        connection.sendall(head("Transfer-Encoding: chunked") + b"7d0\r\n" + bytes(2000) + b"\r\n0\r\n\r\n")
        reply, _ = receive(connection)
        assert reply.status == 413


def test_s28_http_1_0(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(head(f"Content-Length: {len(BODY)}", version="1.0") + BODY)
        reply, rest = receive(connection)
        check(reply)
        assert rest == b""
        assert connection.recv(1) == b"", "the connection is closed after an HTTP/1.0 reply"


def test_s28_http_1_0_without_host_and_with_keep_alive(server: Server) -> None:
    lines = (
        f"POST {PATH} HTTP/1.0\r\nContent-Type: {QUERY}\r\nConnection: keep-alive\r\nContent-Length: {len(BODY)}\r\n"
    )
    with connected(server) as connection:
        for _ in range(2):
            connection.sendall(lines.encode() + b"\r\n" + BODY)
            check(receive(connection)[0])


def test_s28_keep_alive(server: Server) -> None:
    connection = http.client.HTTPConnection(*server.address, timeout=30)
    try:
        connection.connect()
        opened = connection.sock
        for body in (BODY, b"", BODY, bytes(1000), BODY):
            connection.request("POST", PATH, body=body, headers={"Content-Type": QUERY})
            response = connection.getresponse()
            assert response.status == 200
            response.read()
            assert connection.sock is opened, "the server closed a connection that it should keep"
    finally:
        connection.close()


@pytest.mark.parametrize("latency", ["local", "remote"])
def test_s28_pipelining(latency: Literal["local", "remote"]) -> None:
    """Requests sent at once are answered in their order, in the loop's thread and in workers."""
    bodies = [PlainRequest(nonce=number).encode() for number in range(50)]
    signer = TestSigner()
    signer.latency = latency
    with running_server(Parts(signers={"p256": signer})) as server, connected(server) as connection:
        connection.sendall(b"".join(head(f"Content-Length: {len(body)}") + body for body in bodies))
        rest = b""
        for number in range(50):
            reply, rest = receive(connection, rest)
            assert granted(reply.body).tst_info["nonce"].native == number
        assert rest == b""


def test_s28_chunked_body(server: Server) -> None:
    for size in (1, 7, len(BODY)):
        chunks = [BODY[start : start + size] for start in range(0, len(BODY), size)]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        with connected(server) as connection:
            connection.sendall(head("Transfer-Encoding: chunked") + framed)
            check(receive(connection)[0])


def test_s28_expect_100_continue(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(head(f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
        interim, rest = receive(connection)
        assert (interim.status, rest) == (100, b"")
        connection.sendall(BODY)
        check(receive(connection)[0])


def test_s28_body_byte_by_byte(server: Server) -> None:
    """A slow client gets its reply, and others get theirs meanwhile."""
    with connected(server) as connection:
        for octet in head(f"Content-Length: {len(BODY)}") + BODY[:-1]:
            connection.sendall(bytes((octet,)))
        check(server.post(BODY))
        connection.sendall(BODY[-1:])
        check(receive(connection)[0])


def test_s28_body_shorter_than_announced_harms_nobody(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(head(f"Content-Length: {len(BODY) + 1}") + BODY)
        check(server.post(BODY))
        connection.shutdown(socket.SHUT_WR)
        reply = connection.recv(65536)
        assert reply == b"" or reply.split()[1] == b"400", "no timestamp for a request that never ended"
    check(server.post(BODY))


def test_s28_body_longer_than_announced(server: Server) -> None:
    """What follows the announced body is another request, and a bad one."""
    with connected(server) as connection:
        connection.sendall(head(f"Content-Length: {len(BODY)}") + BODY + b"rubbish\r\n\r\n")
        reply, rest = receive(connection)
        check(reply)
        assert receive(connection, rest)[0].status == 400


@pytest.mark.parametrize("value", ["-1", "abc", "1e3", "0x10", "+5", "", "5, 6", "9" * 23, "\u00b2"])
def test_s28_wrong_content_length_is_an_http_error(server: Server, value: str) -> None:
    with connected(server) as connection:
        connection.sendall(head(f"Content-Length: {value}") + BODY)
        assert receive(connection)[0].status in {400, 413}
    check(server.post(BODY))


def test_s28_content_length_of_5000_digits_harms_nobody(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """waitress trips over Python's limit for long numbers and closes the connection."""
    with connected(server) as connection:
        connection.sendall(head(f"Content-Length: {'9' * 5000}"))
        reply = connection.recv(65536)
        assert reply == b"" or reply.split()[1] in {b"400", b"413"}
    check(server.post(BODY))
    caplog.clear()


def test_s28_content_length_beside_chunked_is_not_smuggling(server: Server) -> None:
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    with connected(server) as connection:
        connection.sendall(head("Content-Length: 5", "Transfer-Encoding: chunked") + framed)
        reply, rest = receive(connection)
        assert reply.status in {200, 400}
        assert rest == b""


def test_s28_the_request_id_comes_back_unless_it_could_harm(server: Server) -> None:
    def header(value: str) -> str:
        sent = {"Content-Type": QUERY, "X-Request-Id": value}
        return server.request("POST", PATH, BODY, sent).headers["x-request-id"]

    assert header("abc-123") == "abc-123"
    for value in ("a b", "x" * 129, "é", ""):
        assert header(value) != value
    assert header("") != header("")


def test_s28_client_that_goes_away_harms_nobody(server: Server) -> None:
    for _ in range(20):
        with connected(server) as connection:
            connection.sendall(head(f"Content-Length: {len(BODY)}") + BODY)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    check(server.post(BODY))


def test_s29_noise_of_64_kilobytes_over_http(server: Server) -> None:
    source = random.Random(29)
    noises = [
        source.randbytes(65536),
        b"\x30" * 65536,
        b"\x30\x80" * 32768,
        b"\x30\x83\x00\xff\xfb" + source.randbytes(65531),
        BODY + bytes(65536),
        bytes(65536),
        b"\xff" * 65536,
        b"\x30\x84\x00\x00\xff\xfa\x02\x01\x01" + b"\x02\x01" * 32764,
    ]
    with ends_within(10):
        for noise in noises:
            reply = server.post(noise[:65536])
            assert reply.status == 200
            refused(reply.body, BAD_DATA_FORMAT)
    check(server.post(BODY))


def test_s29_a_megabyte_of_identifier_takes_no_time(server: Server) -> None:
    """The cost of a refusal does not grow with what is refused."""
    identifier = b"\x2a" + b"\x01" * 1_000_000
    policy = b"\x06\x83" + len(identifier).to_bytes(3, "big") + identifier
    plain = PlainRequest().encode()[2:] + policy
    body = b"\x30\x83" + len(plain).to_bytes(3, "big") + plain
    assert server.service is not None
    best = 1.0
    for _ in range(5):
        started = thread_time()
        refused(server.service.authority.respond(body, RequestContext()).der, BAD_DATA_FORMAT)
        best = min(best, thread_time() - started)
    assert best < 0.05
