"""A real `timestamp-server serve` in a process of its own."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import ClassVar, NamedTuple, Self

from tsa_core.testing.waiting import wait_until

_SECONDS = 120.0
"""How long anything may take; far above what it does take, on a machine with better things to do."""
_STARVED_SECONDS = 480.0
"""How much longer something may take in which the server waits for a CPU; Linux only."""
_QUERY = {"Content-Type": "application/timestamp-query"}


class HttpReply(NamedTuple):
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ServerProcess:
    """Started as an operator would; a context manager that stops it by SIGTERM, after which it must end with 0.

    `config` is its configuration file, with which it listens on a free port of 127.0.0.1; more flags of
    `timestamp-server serve` may follow. With None the flags say all there is to say, the port included. No `TSA_...`
    variable of the test's own environment reaches the server; those in `environ` do. `wait_for` is a pattern of the
    last line that it logs at its start. It has a session of its own, and is killed with its workers when it hangs.
    """

    removed_variables: ClassVar[tuple[str, ...]] = ("TSA_", "TLS_", "HOST", "PORT", "SCHEME")
    """How the names of variables begin that the server does not inherit."""
    popen: ClassVar[type[subprocess.Popen[str]]] = subprocess.Popen
    """What starts the process."""

    def __init__(
        self,
        config: Path | None,
        *flags: str | Path,
        environ: Mapping[str, str] | None = None,
        wait_for: str = "listening on ",
    ) -> None:
        self.command = [sys.executable, "-m", "tsa_core.cli.server", "serve"]
        if config is not None:
            self.command += ["--config", str(config)]
            for flag, value in (("--host", "127.0.0.1"), ("--port", "0")):
                self.command += [] if flag in flags else [flag, value]
        self.command += map(str, flags)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(self.removed_variables)}
        # With a fault handler, it says where it hangs when it is ended for that.
        own = {"NO_COLOR": "1", "COLUMNS": "200", "PYTHONFAULTHANDLER": "1"}
        self._environment = {**inherited, **own, **(environ or {})}
        self._wait_for = wait_for
        self._lines: list[str] = []
        self._expected_code = 0

    def __enter__(self) -> Self:
        self.process = self.popen(
            self.command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.wait_for_log(self._wait_for)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        ended_before = self.process.poll() is not None
        code = self._end()
        if error is None:
            how = "it ended by itself" if ended_before else "it was told to stop"
            assert code == self._expected_code, f"{how}, and its exit code is {code}:\n{self.log}"

    def kill(self) -> None:
        """Kill it, as a test may that proves what happens then; its workers are left to themselves."""
        self._expected_code = -signal.SIGKILL
        self.process.kill()
        self.process.wait(_SECONDS)

    def _end(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own session: the server and its workers, nobody else
            return self.process.wait()
        finally:
            self._reader.join(_SECONDS)
            if self.process.stderr is not None:
                self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        return "".join(self._lines)

    def wait_for_log(self, pattern: str) -> None:
        """Return when a line of the log matches; raises AssertionError when the server ends or takes too long."""

        def seen() -> bool:
            ended = self.process.poll() is not None
            if ended:
                self._reader.join(_SECONDS)
            found = re.search(pattern, self.log, re.MULTILINE) is not None
            assert found or not ended, f"the server ended with {self.process.returncode}:\n{self.log}"
            return found

        started = monotonic()
        while True:
            try:
                wait_until(seen, seconds=_SECONDS, what=f"the server logs {pattern!r}")
            except AssertionError as error:
                late = monotonic() - started - min(self._starved_seconds(), _STARVED_SECONDS)
                if late >= _SECONDS or self.process.poll() is not None:
                    self._show_where_it_hangs()
                    raise AssertionError(f"{error}; so far it said:\n{self.log}") from None
            else:
                return

    def _processes(self, pid: int) -> Iterator[int]:
        """Yield a process and all that it has started, where /proc shows them."""
        yield pid
        with suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                yield from self._processes(int(child))

    def _starved_seconds(self) -> float:
        """Return for how long threads of the server were ready to run and got no CPU, as Linux counts it; else 0."""
        nanoseconds = 0
        for pid in self._processes(self.process.pid):
            for statistics in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(OSError, IndexError):
                    nanoseconds += int(statistics.read_text().split()[1])
        return nanoseconds / 1e9

    def _show_where_it_hangs(self) -> None:
        """End its processes so that each writes where all of its threads are."""
        if self.process.poll() is None:
            for pid in reversed(list(self._processes(self.process.pid))):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGABRT)
            self.process.wait(_SECONDS)
            self._reader.join(_SECONDS)

    def address(self, scheme: str = "http") -> tuple[str, int]:
        """Return the first host and port at which it listens for `http` or `https`, as it logged them."""
        found = self.addresses(scheme)
        assert found, self.log
        return found[0]

    def addresses(self, scheme: str = "http") -> list[tuple[str, int]]:
        """Return all hosts and ports at which it listens for `http` or `https`, in the order of its log."""
        found = re.findall(rf"listening on {scheme}://(?:\[([0-9a-f:]+)\]|([0-9.]+)):(\d+)", self.log)
        return [(ipv6 or ipv4, int(port)) for ipv6, ipv4, port in found]

    @property
    def port(self) -> int:
        """Where it listens for plain HTTP."""
        return self.address()[1]

    @property
    def url(self) -> str:
        """Its origin for plain HTTP."""
        host, port = self.address()
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def workers(self) -> set[int]:
        """Return the process ids of its workers; Linux only."""
        pid = self.process.pid
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def get(self, path: str) -> HttpReply:
        """GET a path."""
        return self._exchange("GET", path, None, {})

    def stamp(
        self, request: bytes, *, path: str = "/api/v1/timestamp", headers: Mapping[str, str] | None = None
    ) -> HttpReply:
        """POST the DER of a TimeStampReq."""
        return self._exchange("POST", path, request, {**_QUERY, **(headers or {})})

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> HttpReply:
        connection = http.client.HTTPConnection(*self.address(), timeout=_SECONDS)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return HttpReply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()
