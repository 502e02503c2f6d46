"""Serial numbers, the audit trail and a graceful end, with several workers that are asked all the while."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rotation import Clients, TsaDirectory
from tsa_core.testing import wait_until

pytestmark = [
    pytest.mark.plugin("file"),
    pytest.mark.needs(Path("/proc/self/task").exists(), "finds workers through /proc"),
]

ENGINES = ["waitress-2", "granian-2"]
SINK = """
import os
from tsa_core.api import AuditSink, Provider, hookimpl

class Lines(AuditSink):
    latency = "local"

    def __init__(self):
        self.descriptor = os.open(os.environ["AUDIT_LINES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, record):
        os.write(self.descriptor, f"{os.getpid()} {record.serial_number:040x}\\n".encode())

    def event(self, event):
        pass

@hookimpl
def tsa_audit_sinks():
    yield Provider(name="lines", summary="A line for each token", open=lambda options: Lines())
"""


class Audited(TsaDirectory):
    """Serves with an audit sink that notes process and serial number of every token."""

    def __init__(self, folder: Path, fake_plugin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
        site = fake_plugin("lines", SINK, distribution="tsa-audit-lines")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]))
        self.lines = folder / "audit.txt"
        monkeypatch.setenv("AUDIT_LINES", str(self.lines))
        super().__init__(folder, tables='[audit]\nsinks = ["lines"]')

    def audited(self) -> list[str]:
        return [line.split()[1] for line in self.lines.read_text().splitlines()]

    def workers(self) -> set[int]:
        return {int(line.split()[0]) for line in self.lines.read_text().splitlines()}


@pytest.fixture
def tsa(tmp_path: Path, fake_plugin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Audited:
    return Audited(tmp_path, fake_plugin, monkeypatch)


def serials(clients: Clients) -> list[str]:
    assert {answer.status for answer in clients.answers} == {200}
    return [serial_of(answer.reply) for answer in clients.answers]


def serial_of(reply: bytes) -> str:
    serial = re.search(rb"\x02\x14([\x40-\x7f].{19})", reply, re.DOTALL)
    assert serial is not None
    return serial[1].hex()


@pytest.mark.parametrize("engine", ENGINES)
def test_sigterm_under_load_loses_no_token(engine: str, tsa: Audited) -> None:
    """What was issued before the end reached its client; connections end between requests, never within one."""
    with tsa.served(engine) as server, Clients(server.port) as clients:
        clients.wait_for(200)
        others: list[str] = []

        def both_have_issued() -> bool:
            # Connections stay with the worker that took them, and one may have been quick enough to take them all.
            others.append(serial_of(server.stamp(clients.answers[0].request).body))
            return len(tsa.workers()) == 2

        wait_until(both_have_issued, seconds=60, what="both workers issue")
        os.kill(tsa.report().pid, signal.SIGTERM)
        wait_until(lambda: len(clients.failures) == clients.count, seconds=60, what="every connection has ended")
        server.wait_for_log("stopped: every request that had arrived was answered")
        assert server.process.wait(60) == 0  # a second SIGTERM could come after Python has let go of its handlers
    # Closed between two requests, or refused when asked again: no answer was begun and not finished.
    assert all(
        re.search(r"RemoteDisconnected|ConnectionResetError|ConnectionRefusedError|BrokenPipeError", failure)
        for failure in clients.failures
    ), clients.failures
    answered = [*serials(clients), *others]
    assert len(set(answered)) == len(answered)
    assert sorted(tsa.audited()) == sorted(answered)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_worker_under_load(engine: str, tsa: Audited) -> None:
    """Its requests in progress are gone, one for each client at most; everything else goes on."""
    with tsa.served(engine) as server, Clients(server.port, reconnect=True) as clients:
        clients.wait_for(200)
        victim = min(tsa.workers())
        os.kill(victim, signal.SIGKILL)
        clients.wait_for(200)
        clients.stop()
        assert clients.failures == []
        answered, audited = serials(clients), tsa.audited()
        assert len(set(audited)) == len(audited)
        assert set(answered) <= set(audited)
        assert len(set(audited) - set(answered)) <= clients.count

        def issued_by_a_third() -> bool:
            server.stamp(clients.answers[0].request)  # on a connection of its own: kept ones stay with their worker
            return len(tsa.workers()) == 3

        wait_until(issued_by_a_third, seconds=60, what="the new worker issues")
        assert all(tsa.identity.signed(answer.reply, answer.request) for answer in clients.answers[-50:])


@pytest.mark.parametrize("engine", ENGINES)
def test_the_audit_trail_is_whole_across_reloads(engine: str, tsa: Audited) -> None:
    with tsa.served(engine) as server, Clients(server.port) as clients:
        for _ in range(3):
            clients.wait_for(60)
            assert tsa.reload().succeeded
        clients.wait_for(60)
        clients.stop()
    assert clients.failures == []
    assert sorted(tsa.audited()) == sorted(serials(clients))
