"""Whoever reads the log and hangs stops nothing: lines are dropped, counted, and told when he reads again."""

from __future__ import annotations

import fcntl
import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.serving import Server
from tsa_backends.server_process import free_port
from tsa_core.testing import encode_request, ends_within, wait_until

pytestmark = [
    pytest.mark.plugin("memory"),
    pytest.mark.needs(hasattr(fcntl, "F_SETPIPE_SZ"), "makes a pipe small"),
]
ENGINES = [
    pytest.param(("--workers", "2"), id="waitress"),
    pytest.param(("--server", "granian"), id="granian"),
]
GRACEFUL_SECONDS = 2


class Unread:
    """A server whose log goes into a pipe that is full."""

    def __init__(self, *flags: str) -> None:
        self.end, log = os.pipe()
        fcntl.fcntl(log, fcntl.F_SETPIPE_SZ, 4096)
        port, self._metrics_port = free_port(), free_port()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}
        command = [
            *(sys.executable, "-m", "tsa_core.cli.server", "serve", "--port", str(port), "--log-type", "prod"),
            *("--metrics-port", str(self._metrics_port), "--graceful-timeout", f"{GRACEFUL_SECONDS}s", *flags),
        ]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, env=environ)
        os.close(log)
        self.server = Server(url=f"http://127.0.0.1:{port}")

    def serves(self) -> bool:
        assert self.process.poll() is None
        try:
            return self.server.request("GET", "/ping").status == 200
        except OSError:
            return False

    def dropped(self) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", self._metrics_port, timeout=30)) as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        found = re.search(r"^timestamp_authority_log_lines_dropped_total (\S+)$", text, re.MULTILINE)
        return int(float(found[1])) if found else 0

    def drops_after_a_request(self) -> bool:
        assert self.server.post(encode_request()).status == 200
        return self.dropped() > 0


@contextmanager
def unread_server(*flags: str) -> Iterator[Unread]:
    """Serve with a log that is full and of which lines have been dropped."""
    unread = Unread(*flags)
    try:
        wait_until(unread.serves, seconds=60, what="the server serves")
        for _ in range(40):  # 300 bytes each
            assert unread.server.post(encode_request()).status == 200
        wait_until(unread.drops_after_a_request, seconds=60, what="lines are dropped")
        yield unread
    finally:
        unread.process.kill()
        unread.process.wait()
        os.close(unread.end)


@pytest.mark.parametrize("flags", ENGINES)
def test_requests_are_answered_and_sigterm_ends_the_server(flags: tuple[str, ...]) -> None:
    with unread_server(*flags) as unread:
        for path in ("/ping", "/healthz"):
            assert unread.server.request("GET", path).status == 200
        unread.process.send_signal(signal.SIGTERM)
        with ends_within(GRACEFUL_SECONDS + 2):
            assert unread.process.wait() == 0


def test_the_log_says_how_much_was_lost_once_it_is_read_again() -> None:
    with unread_server() as unread:
        before = unread.dropped()
        data = bytearray()

        def told() -> bool:
            data.extend(os.read(unread.end, 65536))
            unread.server.post(encode_request())
            return b" lines of the log were dropped" in data

        wait_until(told, seconds=60, what="the log says so")
        (count,) = re.findall(rb'"event": ?"(\d+) lines of the log were dropped', bytes(data))
        assert int(count) >= before
