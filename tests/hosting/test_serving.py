"""The server process: where it listens, how it stops, and that nothing is lost when it does."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from asn1crypto import tsp

from tests.http_replies import next_reply, replies_on
from tsa_core.config import load_settings
from tsa_core.hosting.sockets import listen
from tsa_core.hosting.waitress.server import WaitressServer
from tsa_core.http import create_app
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.service import Service
from tsa_core.testing import wait_until

pytestmark = pytest.mark.plugin("memory")

REQUEST = encode_request(algorithm=SHA256, digest=bytes(32), nonce=1, cert_req=True)
HEADERS = {"Content-Type": "application/timestamp-query"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}

Start = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start commands that print where they listen; return the process and its port."""
    processes: list[subprocess.Popen[str]] = []

    def start(
        *command: str, pattern: str = r"listening on http://127\.0\.0\.1:(\d+)"
    ) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(pattern, line):
                return process, int(found[1])
        raise AssertionError(f"{command} ended with {process.wait()} before it listened")

    yield start
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def serve(start: Start, *arguments: str) -> tuple[subprocess.Popen[str], int]:
    return start(sys.executable, "-m", "tsa_core.cli.server", "serve", "--port", "0", *arguments)


def stamp(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/api/v1/timestamp", REQUEST, HEADERS)
        return connection.getresponse().read()
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_exit_code_0(start: Start, number: signal.Signals) -> None:
    process, port = serve(start)
    assert stamp(port)[:1] == b"\x30"
    process.send_signal(number)
    assert process.wait(120) == 0


def test_a_request_in_flight_is_answered_before_the_end(start: Start) -> None:
    process, port = serve(start)
    head = (
        "POST /api/v1/timestamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/timestamp-query\r\n"
        f"Content-Length: {len(REQUEST)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head + REQUEST[:10])
        stamp(port)  # the server has read the beginning of the first request by the time it answers the second
        process.send_signal(signal.SIGTERM)
        wait_until_refused(port)
        connection.sendall(REQUEST[10:])
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 200
        assert response.read()[:1] == b"\x30"
    assert process.wait(120) == 0


def wait_until_refused(port: int) -> None:
    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=60).close()
        except OSError:
            return True
        return False

    wait_until(refused, seconds=60, what="the server accepts no connections after SIGTERM")


def test_what_never_finishes_is_cut_off_after_the_graceful_timeout(start: Start) -> None:
    process, port = serve(start, "--graceful-timeout", "300ms")
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"POST /api/v1/timestamp HTTP/1.1\r\n")
        stamp(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


def test_idle_keep_alive_connections_do_not_delay_the_end(start: Start) -> None:
    process, port = serve(start, "--graceful-timeout", "10m")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/ping")
    assert connection.getresponse().read() == b"."
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    connection.close()


def test_a_port_in_use_is_one_line(start: Start) -> None:
    _, port = serve(start)
    result = subprocess.run(
        [sys.executable, "-m", "tsa_core.cli.server", "serve", "--port", str(port)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 75  # it may be free later
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
    assert "Traceback" not in result.stderr


def test_waitress_serve_serves_the_same(start: Start) -> None:
    _, port = start(
        str(Path(sys.executable).with_name("waitress-serve")),
        "--listen=127.0.0.1:0",
        "--call",
        "tsa_core.wsgi:create_app",
        pattern=r"http://127\.0\.0\.1:(\d+)",
    )
    assert stamp(port)[:1] == b"\x30"


def test_the_wsgi_factory_ends_with_one_line_for_a_bad_configuration(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import tsa_core.wsgi; tsa_core.wsgi.create_app()"],
        env=ENVIRONMENT | {"TSA_CONFIG": str(tmp_path / "nope.toml")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("tsa-core: error: ")
    assert len(result.stderr.splitlines()) == 1


@contextmanager
def running(*, waits: bool = False, **settings: object) -> Iterator[tuple[WaitressServer, int]]:
    """Run our server in a thread of this process; yield it and its port.

    `waits` treats the signer as one that waits for a backend.
    """
    loaded = load_settings(overrides={"server": {"port": 0, **settings}}, environ={})
    sockets = listen(loaded.server)
    with Service(loaded) as service:
        service.authority.profiles["default"].waits = waits
        server = WaitressServer(create_app(service), loaded.server, sockets=sockets)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server, sockets[0].getsockname()[1]
        finally:
            server.stop()
            thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize("waits", [False, True])
def test_pipelined_requests_are_answered_in_order(waits: bool) -> None:
    nonces = range(1, 9)
    bodies = [encode_request(algorithm=SHA256, digest=bytes(32), nonce=nonce) for nonce in nonces]
    requests = b"".join(
        f"GET /ping HTTP/1.1\r\nHost: x\r\n\r\nPOST /api/v1/timestamp HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: application/timestamp-query\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
        for body in bodies
    )
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with running(waits=waits) as (_, port), socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(requests + last)
        stream = replies_on(connection)
        for nonce in nonces:
            assert next_reply(stream).body == b"."
            info = tsp.TimeStampResp.load(next_reply(stream).body)["time_stamp_token"]["content"]["encap_content_info"]
            assert info["content"].parsed["nonce"].native == nonce
        assert next_reply(stream).body == b'{"status": "ok"}'
        assert stream.read() == b""


@pytest.mark.parametrize("waits", [False, True])
def test_the_loop_does_not_spin(waits: bool) -> None:
    """With waitress's own settings it turns 46 to 233 times for each request when many are under way."""
    clients, each = 16, 25

    def many(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for _ in range(each):
            connection.request("POST", "/api/v1/timestamp", REQUEST, HEADERS)
            assert connection.getresponse().read()[:1] == b"\x30"
        connection.close()

    with running(waits=waits) as (server, port):
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(many, [port] * clients))
        # Reading, waking after the answer and sending are a turn each at most; connecting and closing are two more.
        assert server.turns <= 6 * clients * each


@pytest.mark.parametrize("waits", [False, True])
def test_connections_beyond_the_limit_wait_and_are_served_when_others_end(waits: bool) -> None:
    # The limit counts the listening socket and the trigger, too.
    with running(waits=waits, connection_limit=6, connection_share=1) as (_, port):
        held = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(4)]
        for connection in held:
            connection.request("GET", "/ping")
            assert connection.getresponse().read() == b"."
        with socket.create_connection(("127.0.0.1", port), timeout=60) as waiting:
            waiting.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            waiting.settimeout(0.3)
            with pytest.raises(TimeoutError):
                waiting.recv(1)
            held[0].close()
            waiting.settimeout(10)
            assert waiting.recv(12) == b"HTTP/1.1 200"
        for connection in held:
            connection.close()


def test_idle_connections_are_closed() -> None:
    with running(idle_timeout="1s") as (_, port):
        connection = socket.create_connection(("127.0.0.1", port), timeout=15)
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        while chunk := connection.recv(4096):  # ends when the server closes
            data += chunk
        assert data.endswith(b"\r\n\r\n.")
        connection.close()


@pytest.mark.parametrize("waits", [False, True])
def test_a_client_that_goes_away_is_forgotten(waits: bool) -> None:
    with running(waits=waits) as (server, port):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                connection.sendall(b"POST /api/v1/timestamp HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert stamp(port)[:1] == b"\x30"
        before = server.turns
        assert stamp(port)[:1] == b"\x30"
        assert server.turns - before < 20
