"""timestamp-server as an operator runs it: a process of its own, asked over HTTP."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from asn1crypto import parser, tsp

from tsa_backends.commands import run_command
from tsa_core.testing import ServerProcess

FOREIGN = ("TSA_", "VAULT_", "BAO_", "AWS_", "GOOGLE_", "AZURE_", "TLS_", "HOST", "PORT", "SCHEME")
"""How the variables' names begin that would configure a signer by accident."""


def run(
    arguments: Sequence[str | Path], environment: Mapping[str, str], *, program: str = "timestamp-server"
) -> subprocess.CompletedProcess[str]:
    """Run a command of timestamp-server, or of another program of ours, to its end."""
    return run_command(*arguments, program=program, environ=environment, removed=FOREIGN)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back for one request; `failures` are the names of failInfo, empty for a grant."""

    response: bytes
    granted: bool
    failures: frozenset[str]
    seconds: float


class TimestampServer(ServerProcess):
    """A serving process with these flags; no variable reaches it that would configure a signer by accident."""

    removed_variables = FOREIGN

    def __init__(self, arguments: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        super().__init__(None, "--port", "0", *arguments, environ=environment)

    def ask(self, request: bytes) -> Answer:
        """Send a TimeStampReq and read the TimeStampResp."""
        started = time.monotonic()
        reply = self.stamp(request)
        assert reply.status == 200, reply
        # asn1crypto's TimeStampResp cannot hold a reply without a token, its PKIStatusInfo can.
        status = tsp.PKIStatusInfo.load(parser.parse(reply.body)[4], strict=False)
        return Answer(
            response=reply.body,
            granted=status["status"].native == "granted",
            failures=frozenset(status["fail_info"].native or ()),
            seconds=time.monotonic() - started,
        )

    def ready(self) -> int:
        """Return the HTTP status of /readyz."""
        return self.get("/readyz").status

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, traceback)
        if error is None:
            assert "Traceback" not in self.log, self.log[-3000:]
