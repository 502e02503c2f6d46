"""A real `timestamp-server serve` in a process of its own, on a free port of 127.0.0.1."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tsa_core.testing.waiting import wait_until

_LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")
_SECONDS = 60.0
_QUERY = {"Content-Type": "application/timestamp-query"}


class HttpReply(NamedTuple):
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ServerProcess:
    """Started with a configuration file, as an operator would; a context manager that stops it by its pid.

    `config` is the file; more flags of `timestamp-server serve` may follow. No TSA_... variable of the test's own
    environment reaches the server; those in `environ` do.
    """

    def __init__(self, config: Path, *flags: str, environ: Mapping[str, str] | None = None) -> None:
        self._command = [sys.executable, "-m", "tsa_core.cli.server", "serve", "--config", str(config)]
        self._command += ["--host", "127.0.0.1", "--port", "0", *flags]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}
        self._environment = {**clean, "NO_COLOR": "1", "COLUMNS": "200", **(environ or {})}
        self._lines: list[str] = []
        self.port = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.wait_for_log(_LISTENING.pattern)
        except AssertionError:
            self.__exit__(None, None, None)
            raise
        found = _LISTENING.search(self.log)
        assert found is not None
        self.port = int(found[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_SECONDS)
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.append(line)

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        return "".join(self._lines)

    def wait_for_log(self, pattern: str) -> None:
        """Return when a line of the log matches; raises AssertionError when the server ends or takes too long."""

        def seen() -> bool:
            if self._process.poll() is not None:
                self._reader.join(_SECONDS)
                assert re.search(pattern, self.log), f"the server ended with {self._process.returncode}:\n{self.log}"
            return re.search(pattern, self.log) is not None

        wait_until(seen, seconds=_SECONDS, what=f"the server logs {pattern!r}")

    def get(self, path: str) -> HttpReply:
        """GET a path."""
        return self._exchange("GET", path, None, {})

    def stamp(
        self, request: bytes, *, path: str = "/api/v1/timestamp", headers: Mapping[str, str] | None = None
    ) -> HttpReply:
        """POST the DER of a TimeStampReq."""
        return self._exchange("POST", path, request, {**_QUERY, **(headers or {})})

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> HttpReply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_SECONDS)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return HttpReply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()
