"""From SIGTERM on, new clients are turned away at once, while what has begun is answered."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.http_replies import turned_away
from tests.rotation import FLAGS, TsaDirectory
from tsa_core.testing import encode_request, wait_until

pytestmark = pytest.mark.plugin("file")

REQUEST = encode_request(nonce=1)
HEAD = (
    f"POST /api/v1/timestamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/timestamp-query\r\n"
    f"Content-Length: {len(REQUEST)}\r\nExpect: 100-continue\r\n\r\n"
).encode()


@pytest.mark.parametrize("engine", FLAGS)
def test_new_clients_do_not_wait_for_a_server_that_ends(engine: str, tmp_path: Path) -> None:
    """They waited in the queue of a socket that nobody accepted from, until the last request was answered."""
    with TsaDirectory(tmp_path).served(engine) as server:
        address = ("127.0.0.1", server.port)
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(HEAD)
            assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n", "the server has not read the head"
            server.process.terminate()

            def all_turned_away() -> bool:  # a worker that has not heard of the end yet still serves one or two
                return all(turned_away(address) for _ in range(20))

            wait_until(all_turned_away, seconds=10, what="new clients are turned away")
            connection.sendall(REQUEST)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
        assert server.process.wait(60) == 0


@pytest.mark.parametrize("engine", FLAGS)
def test_a_request_whose_head_is_half_there_is_answered(engine: str, tmp_path: Path) -> None:
    with TsaDirectory(tmp_path).served(engine) as server:
        address = ("127.0.0.1", server.port)
        head = HEAD.replace(b"Expect: 100-continue\r\n", b"")
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(head[:40])
            # Answered later than those octets have arrived, by a loop that reads what is there.
            assert all(server.stamp(encode_request(b"meanwhile")).status == 200 for _ in range(5))
            server.process.terminate()
            wait_until(lambda: turned_away(address), seconds=10, what="new clients are turned away")
            connection.sendall(head[40:] + REQUEST)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
        assert server.process.wait(60) == 0
