"""Whole servers, on both engines and with workers, whose tokens are stopped by one thing after the other.

No test asks for a token before /readyz has turned red, and none before it is green again: both come without clients.
"""

from __future__ import annotations

import http.client
import json
import resource
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tsa_core.protocol.reply import read_reply
from tsa_core.testing import ServerProcess, encode_request, wait_until

pytestmark = [pytest.mark.plugin("auditfile"), pytest.mark.plugin("archive")]

SECONDS = 60.0
ENGINES = [
    pytest.param((), id="waitress"),
    pytest.param(("--workers", "2"), id="waitress-2"),
    pytest.param(("--server", "granian", "--workers", "2"), id="granian-2", marks=pytest.mark.package("granian")),
]

PARTS = """
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import ClassVar
from cryptography.hazmat.primitives.serialization import Encoding
from tsa_core.api import (
    Clock, ClockMonitor, ClockVerdict, HealthCheck, HealthStatus, LocalKeySigner, Provider, SignerOptions,
    SignerUnavailable, TimeReading, hookimpl,
)
from tsa_response_archive import processor

processor._PROBE_SECONDS = 0.2  # of ten seconds

FOLDER = Path({folder!r})

def told(what):
    return (FOLDER / what).exists()

class Signer(LocalKeySigner):
    latency: ClassVar = "remote"

    def __init__(self):
        from tsa_core.testing import Pki, new_key
        super().__init__(new_key())
        self._chain = [certificate.public_bytes(Encoding.DER) for certificate in Pki().chain(self.public_key)]

    def certificate_chain(self):
        return self._chain

    def sign(self, message, *, timeout):
        if told("signer-down"):
            raise SignerUnavailable("10.1.2.3: connection refused, token s.secret")
        return super().sign(message, timeout=timeout)

class SetClock(Clock):
    def now(self):
        return TimeReading(datetime.now(UTC) + timedelta(days=36500 if told("clock-far-ahead") else 0))

class Monitor(ClockMonitor):
    good = ClockVerdict(trusted=True, reason="", checked_at=monotonic())
    bad = ClockVerdict(trusted=False, reason="the time servers disagree", checked_at=monotonic())

    def start(self, clock):
        pass

    def verdict(self):
        return self.bad if told("clock-wrong") else self.good

    def stop(self):
        pass

class Check(HealthCheck):
    def check(self):
        return HealthStatus(healthy=not told("check-bad"), reason="too warm" if told("check-bad") else "")

@hookimpl
def tsa_signers():
    yield Provider(name="parts", summary="Fails", options=SignerOptions, open=lambda options: Signer())

@hookimpl
def tsa_clocks():
    yield Provider(name="parts", summary="Is set", open=lambda options: SetClock())

@hookimpl
def tsa_clock_monitors():
    yield Provider(name="parts", summary="Distrusts", open=lambda options: Monitor())

@hookimpl
def tsa_health_checks():
    yield Provider(name="parts", summary="Is bad", open=lambda options: Check())
"""

CONFIG = """
[profiles.default]
signer = "parts:"
[clock]
source = "parts"
monitors = ["parts"]
max_verdict_age = "24h"
[audit]
sinks = ["auditfile"]
[audit.auditfile]
path = "audit.jsonl"
probe_interval = "200ms"
[response]
processors = ["archive"]
[response.archive]
directory = "archive"
[health]
checks = ["parts"]
trial_interval = "200ms"
[metrics]
port = 0
"""


class Watched:
    """A server, and how it says that it is."""

    def __init__(self, process: ServerProcess, folder: Path) -> None:
        self.process = process
        self.folder = folder

    def bad(self) -> dict[str, str]:
        """Return what /readyz says is bad, from a process that answers this time."""
        reply = self.process.get("/readyz")
        bad = {check["name"]: check["reason"] for check in json.loads(reply.body)["checks"] if not check["healthy"]}
        assert reply.status == (503 if bad else 200)
        assert b"secret" not in reply.body
        return bad

    def becomes(self, bad: dict[str, str]) -> None:
        """Wait until several answers in a row say this: those of all workers, as far as chance lets them answer."""
        wait_until(lambda: all(self.bad() == bad for _ in range(8)), seconds=SECONDS, what=f"{bad}; last {self.bad()}")

    def metrics(self) -> set[str]:
        """Return what the metrics say is bad; a process may be between its two when its file is read."""
        address = self.process.log.partition("metrics at http://")[2].partition("/")[0]
        with closing(http.client.HTTPConnection(address, timeout=SECONDS)) as connection:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        bad = {line for line in lines if line.startswith("timestamp_authority_not_ready{") and line.endswith(" 1.0")}
        if f"timestamp_authority_ready {0.0 if bad else 1.0}" not in lines:
            return {"timestamp_authority_ready says something else"}
        return {line.partition('"')[2].partition('"')[0] for line in bad}

    def shows(self, sentence: str) -> None:
        """Wait until several landing pages in a row say this."""

        def shown() -> bool:
            return all(sentence in self.process.get("/").body.decode() for _ in range(8))

        wait_until(shown, seconds=SECONDS, what=f"the page says {sentence!r}")

    def pids(self) -> list[int]:
        """Return the process ids of the server and its workers."""
        return [self.process.process.pid, *self.process.workers()]

    def grants(self) -> bool:
        return read_reply(self.process.stamp(encode_request()).body).status.granted

    def stopped_by(self, bad: dict[str, str], sentence: str) -> None:
        """Check that everything says so, and that clients get no token."""
        self.becomes(bad)
        wait_until(lambda: self.metrics() == set(bad), seconds=SECONDS, what=f"the metrics say {set(bad)}")
        self.shows(f"It cannot issue timestamps now. {sentence}")
        for name in bad:
            self.process.wait_for_log(f"not ready: {name}: " if name != "clock" else "clock state=unsynchronised")
        assert not self.grants()
        assert self.process.get("/healthz").status == 200

    def issues_again(self) -> None:
        """Check that everything says so, before any client asks for a token."""
        wait_until(lambda: self.metrics() == set(), seconds=SECONDS, what="the metrics say that all is well")
        self.becomes({})
        self.shows("It issues timestamps.")
        assert all(self.grants() for _ in range(8))


@pytest.fixture(scope="module", params=ENGINES)
def watched(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    fake_plugin_in: Callable[[Path], Callable[..., Path]],
) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("server")
    site = fake_plugin_in(folder)("parts", PARTS.format(folder=str(folder)))
    config = folder / "tsa.toml"
    config.write_text(CONFIG)
    with ServerProcess(config, *request.param, environ={"PYTHONPATH": str(site)}) as process:
        server = Watched(process, folder)
        server.becomes({})
        yield server


@pytest.mark.parametrize(
    ("fault", "bad", "sentence"),
    [
        ("signer-down", {"signer:default": "the signer cannot sign now"}, "The signer cannot sign."),
        ("clock-wrong", {"clock": "unsynchronised; the time servers disagree"}, "The clock cannot be trusted."),
        (
            "clock-far-ahead",
            {"certificate:default": "a certificate of the chain is not valid now"},
            "The certificate or its key may not be used now.",
        ),
    ],
)
def test_what_stops_tokens_is_told_without_a_client_and_so_is_its_end(
    watched: Watched, fault: str, bad: dict[str, str], sentence: str
) -> None:
    (watched.folder / fault).touch()
    try:
        watched.stopped_by(bad, sentence)
    finally:
        (watched.folder / fault).unlink()
    watched.issues_again()
    (name,) = bad
    watched.process.wait_for_log(f"ready again: {name}" if name != "clock" else "clock state=synchronised")
    assert "secret" not in "".join(line for line in watched.process.log.splitlines() if "not ready" in line)


@pytest.mark.needs(hasattr(resource, "prlimit"), "sets another process's limits as Linux can")
def test_a_full_disk_is_told_without_a_client_and_so_is_its_end(watched: Watched) -> None:
    """A limit on the size of files fails as a full disk does."""
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in watched.pids()}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        watched.stopped_by(
            {
                "audit:auditfile": "the audit file cannot be written: File too large",
                "response:archive": "the archive cannot keep tokens: File too large",
            },
            "Replies cannot be completed. The audit trail takes no records.",
        )
    finally:
        for pid, before in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    watched.issues_again()


def test_a_health_check_makes_red_and_stops_no_token(watched: Watched) -> None:
    (watched.folder / "check-bad").touch()
    try:
        watched.becomes({"parts": "too warm"})
        assert watched.grants()
        watched.shows("It issues timestamps.")
    finally:
        (watched.folder / "check-bad").unlink()
    watched.issues_again()
