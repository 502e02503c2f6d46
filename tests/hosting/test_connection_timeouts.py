"""Connections: a request or a reply that takes too long ends, and honest clients are served meanwhile."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.serving import Server, running_server
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.testing import ends_within

ENGINES = [
    "waitress",
    pytest.param(
        "granian",
        marks=[
            pytest.mark.package("granian"),
            pytest.mark.needs(Path("/proc/self/fd").is_dir(), "granian's connections are watched through /proc"),
        ],
    ),
]
REQUEST = encode_request(algorithm=SHA256, digest=bytes(32), nonce=1, cert_req=True)
HEAD = (
    "POST /api/v1/timestamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/timestamp-query\r\n"
    f"Content-Length: {len(REQUEST)}\r\n\r\n"
).encode()


def trickle(server: Server, data: bytes) -> float:
    """Send a byte every tenth of a second until the server hangs up; return after how long it did.

    Meanwhile an honest client asks again and again.
    """
    with socket.create_connection(server.address, timeout=0.1) as connection:
        started = time.monotonic()
        for number, octet in enumerate(data):
            assert number % 5 or server.post(REQUEST).status == 200
            try:
                connection.sendall(bytes((octet,)))
                if connection.recv(1) == b"":
                    return time.monotonic() - started
            except TimeoutError:
                continue
            except OSError:
                return time.monotonic() - started
    raise AssertionError("the server waited for all of it")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("data", [HEAD, HEAD + REQUEST], ids=["head", "body"])
def test_a_request_that_trickles_in_is_cut_off(data: bytes, engine: str) -> None:
    slow = data.replace(b"Host: x", b"Host: " + b"x" * 1000)  # minutes
    if data is not HEAD:
        slow = HEAD.replace(b"Content-Length: ", b"Content-Length: 9") + REQUEST + bytes(1000)
    with running_server(engine=engine, read_timeout="1s", idle_timeout="1h") as server, ends_within(5):
        assert trickle(server, slow) >= 0.9
        assert server.post(REQUEST).status == 200


def test_a_request_in_time_is_not_cut_off() -> None:
    with running_server(read_timeout="30s") as server, socket.create_connection(server.address, timeout=30) as slow:
        for octet in HEAD + REQUEST:
            slow.sendall(bytes((octet,)))
        assert slow.recv(12) == b"HTTP/1.1 200"


def test_a_client_that_reads_no_replies_is_cut_off() -> None:
    with running_server(write_timeout="1s", idle_timeout="100s") as server:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(0.5)
            connection.connect(server.address)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    connection.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
                except TimeoutError:
                    continue  # our own buffers are full: the server stopped reading
                except OSError:
                    break
            else:
                raise AssertionError("the server waits for ever")
        assert server.post(REQUEST).status == 200


def test_a_head_beyond_the_limit_is_refused() -> None:
    with running_server(max_header_size=8192) as server:
        assert server.request("GET", "/ping", headers={"X-Long": "x" * 9000}).status == 431
        assert server.request("GET", "/ping", headers={"X-Long": "x" * 7000}).status == 200
