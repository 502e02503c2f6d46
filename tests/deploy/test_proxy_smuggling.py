"""Requests that two readers frame differently, through the nginx and HAProxy samples in front of granian.

hyper hides a Content-Length beside Transfer-Encoding (decision 200). What is smuggled asks for /healthz, which both
samples keep from clients: wherever granian has answered that, a proxy did not see the request.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deploy.proxies import HOST, PROXIES, SECONDS, Tls, make_tls, running
from tsa_core.testing import ServerProcess, encode_request, wait_until

pytestmark = [pytest.mark.plugin("memory"), pytest.mark.package("granian")]

SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
REQUEST = encode_request()
_numbers = count()


class Front(NamedTuple):
    """A proxy, and granian behind it."""

    port: int
    context: ssl.SSLContext
    server: ServerProcess

    def send(self, data: bytes) -> bytes:
        """Send octets as they are, and return what comes until the proxy closes."""
        received = b""
        with (
            socket.create_connection(("127.0.0.1", self.port), SECONDS) as plain,
            self.context.wrap_socket(plain, server_hostname=HOST) as encrypted,
        ):
            encrypted.sendall(data)
            with suppress(ConnectionError, ssl.SSLError):  # it may close before it has got everything
                while part := encrypted.recv(65536):
                    received += part
        return received

    def get(self, path: str) -> bytes:
        """Return the reply to an honest client, with its head."""
        with (
            socket.create_connection(("127.0.0.1", self.port), SECONDS) as plain,
            self.context.wrap_socket(plain, server_hostname=HOST) as encrypted,
        ):
            encrypted.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: encrypted.recv(65536), b""))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tsa-proxy-") as name:
        # Proxies that are started by root give their rights away, and must still find their files.
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def tls(folder: Path) -> Tls:
    return make_tls(folder)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(None, "--port", "0", "--server", "granian", "--metrics=false") as running:
        yield running


@pytest.fixture(scope="module", params=PROXIES)
def front(request: pytest.FixtureRequest, folder: Path, tls: Tls, server: ServerProcess) -> Iterator[Front]:
    command, port = PROXIES[request.param](folder, tls, server.port)
    context = ssl.create_default_context(cafile=str(tls.certificate))
    with running(command, port=port, log=folder / f"{request.param}.log"):
        found = Front(port, context, server)
        wait_until(lambda: found.get("/ping").endswith(b"."), seconds=SECONDS, what="the proxy finds the server")
        yield found


def framed(*lines: str, body: bytes, version: str = "HTTP/1.1") -> bytes:
    """Return a request with these lines about its length."""
    head = [f"POST /api/v1/timestamp {version}", f"Host: {HOST}", "Connection: close", *lines]
    head.append("Content-Type: application/timestamp-query")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


CODINGS = [
    "Transfer-Encoding: chunked",
    "transfer-encoding:chunked",
    "Transfer-Encoding:\tChunked ",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: \x0bchunked",
    "Transfer_Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
]
BY_CHUNKS = b"0\r\n\r\n" + SMUGGLED
"""Who reads chunks finds an empty body, and a request behind it; its length covers both."""
BY_LENGTH = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
"""Who reads by a length that covers the first line finds a request behind it; chunks cover both."""


@pytest.mark.parametrize("coding", CODINGS)
def test_no_request_passes_a_proxy_unseen(front: Front, coding: str) -> None:
    before = len(front.server.log)
    for body, length in ((BY_CHUNKS, len(BY_CHUNKS)), (BY_LENGTH, BY_LENGTH.index(SMUGGLED))):
        for lines in ((coding, f"Content-Length: {length}"), (f"Content-Length: {length}", coding)):
            front.send(framed(*lines, body=body))
            front.send(framed(*lines, body=body, version="HTTP/1.0"))
    last = f"/tsa/last-{next(_numbers)}/certchain"
    assert b" 404 " in front.get(last)
    front.server.wait_for_log(last)
    assert "/healthz" not in front.server.log[before:]
    for _ in range(3):
        assert front.get("/ping").endswith(b"\r\n\r\n."), "nobody gets the reply to another's request"


def test_the_log_would_show_it(front: Front) -> None:
    """What asks granian itself for /healthz is in the log that the test above reads."""
    before = len(front.server.log)
    assert front.server.get("/healthz").status == 200
    wait_until(lambda: "GET /healthz" in front.server.log[before:], seconds=SECONDS, what="the log has it")


def test_a_body_in_chunks_gets_its_token_through_a_proxy(front: Front) -> None:
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(REQUEST), REQUEST)
    for _ in range(3):
        assert bytes.fromhex("3003020100") in front.send(framed("Transfer-Encoding: chunked", body=chunked))
