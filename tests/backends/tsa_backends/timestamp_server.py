"""timestamp-server as an operator runs it: a process of its own, asked over HTTP."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from asn1crypto import parser, tsp

_PROGRAM = "timestamp-server"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


def run(
    arguments: Sequence[str | Path], environment: Mapping[str, str], *, program: str = _PROGRAM
) -> subprocess.CompletedProcess[str]:
    """Run a command of timestamp-server, or of another program of ours, to its end."""
    return subprocess.run(
        [_beside_python(program), *map(str, arguments)],
        env={**_clean(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _beside_python(program: str) -> Path:
    return Path(sys.executable).with_name(program)


def _clean() -> dict[str, str]:
    """Return the environment without what would configure a signer by accident."""
    prefixes = ("TSA_", "VAULT_", "BAO_", "AWS_", "GOOGLE_", "AZURE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back for one request; `failures` are the names of failInfo, empty for a grant."""

    response: bytes
    granted: bool
    failures: frozenset[str]
    seconds: float


class TimestampServer:
    """A serving process; a context manager that ends it with SIGTERM and demands exit code 0."""

    def __init__(self, arguments: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [_beside_python(_PROGRAM), "serve", "--port", "0", *map(str, arguments)],
                env={**_clean(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.port = self._wait_for_port()

    def _wait_for_port(self) -> int:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", self.text()):
                return int(found[1])
            time.sleep(0.05)
        self._process.kill()
        self._process.wait()
        raise AssertionError(f"the server did not start:\n{self.text()}")

    def children(self) -> set[int]:
        """Return the process ids of its workers; Linux only."""
        pid = self._process.pid
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def text(self) -> str:
        """Return all that the server has printed and logged."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def ask(self, request: bytes, *, seconds: float = 60.0) -> Answer:
        """Send a TimeStampReq and read the TimeStampResp."""
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(
                "POST", "/api/v1/timestamp", body=request, headers={"Content-Type": "application/timestamp-query"}
            )
            reply = connection.getresponse()
            body = reply.read()
        finally:
            connection.close()
        assert reply.status == 200, (reply.status, body)
        # asn1crypto's TimeStampResp cannot hold a reply without a token, its PKIStatusInfo can.
        status = tsp.PKIStatusInfo.load(parser.parse(body)[4], strict=False)
        return Answer(
            response=body,
            granted=status["status"].native == "granted",
            failures=frozenset(status["fail_info"].native or ()),
            seconds=time.monotonic() - started,
        )

    def ready(self) -> int:
        """Return the HTTP status of /readyz."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status
        finally:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            code = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the server hung at SIGTERM:\n{self.text()[-3000:]}") from None
        assert code == 0, self.text()[-3000:]
        assert "Traceback" not in self.text(), self.text()[-3000:]
