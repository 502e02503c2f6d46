"""A server that runs as a process of its own."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_FIRST_PORT = 10_000


def free_port(count: int = 1) -> int:
    """Return the first of `count` adjacent ports that were free a moment ago.

    They are below those that the system gives to connections and to port 0, so that nobody gets one of them before the
    program listens, but for another caller who draws the same number.
    """
    while True:
        port = _FIRST_PORT + secrets.randbelow(_first_given_port() - count - _FIRST_PORT)  # no seed of a test counts
        try:
            for number in range(port, port + count):
                with socket.socket() as tried:
                    tried.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port


def _first_given_port() -> int:
    """Return the first port that the system gives by itself; where it does not say, IANA's (RFC 6335 6)."""
    range_of_ports = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(range_of_ports.read_text().split()[0]) if range_of_ports.is_file() else 49_152
    return first if first > 2 * _FIRST_PORT else 65_536


def end_in_order(process: subprocess.Popen[bytes], *, seconds: float) -> None:
    """Ask the process to end; raises TimeoutExpired, and kills it, when it takes longer than this."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


class ServerProcess:
    """Starts, stops, kills, freezes and restarts one server; its output goes to a file that failures quote."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.command = list(map(str, command))
        self.log = log
        self.environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[], bool]) -> None:
        """Start the server and wait until `ready` says so."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment
            )
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.command[0]} did not start:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The number of the process, which runs."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process: SIGSTOP freezes it, SIGCONT lets it go on.

        Returns after SIGSTOP when all of its threads have stopped; on a busy machine one may still answer before.
        """
        assert self._process is not None
        self._process.send_signal(number)
        if number is signal.SIGSTOP:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def stop(self) -> None:
        """End the server as its operator would, by force after a while."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the server at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)
            self._process = None
