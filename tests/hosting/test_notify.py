"""sd_notify: what the service manager is told, and by whom."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tsa_core.hosting import notify
from tsa_core.testing import ServerProcess, encode_request

SECONDS = 30.0


class Manager:
    """Listens as a service manager does."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(SECONDS)

    def receive(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())

    def heard_nothing_more(self) -> bool:
        self.socket.setblocking(False)
        try:
            return not self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(SECONDS)


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@tsa-test-{os.getpid()}-{tmp_path.name}"


@pytest.fixture
def manager(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    monkeypatch.setattr(notify, "_service", None)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    listening = Manager(address.replace("@", "\0", 1))
    yield listening
    listening.socket.close()


def test_life_of_a_service(manager: Manager) -> None:
    notify.notify_ready("two\nlines")
    assert manager.receive() == {"READY": "1", "STATUS": "two lines"}
    notify.notify_reloading()
    reloading = manager.receive()
    assert reloading.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert int(reloading["MONOTONIC_USEC"]) > 0
    notify.notify_ready("again")
    assert manager.receive() == {"READY": "1", "STATUS": "again"}
    notify.notify_stopping()
    assert manager.receive() == {"STOPPING": "1"}


def test_only_the_process_that_is_ready_says_more(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    notify.notify_stopping()
    notify.notify_reloading()
    notify.notify_ready()
    manager.receive()
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)  # as in a worker that was forked
    notify.notify_stopping()
    notify.notify_reloading()
    assert manager.heard_nothing_more()


@pytest.mark.parametrize("value", ["", "relative/path", "tcp:127.0.0.1:1"])
def test_without_a_socket_nothing_is_sent(
    value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notify, "_service", None)
    monkeypatch.setenv("NOTIFY_SOCKET", value)
    notify.notify_ready()
    assert caplog.text == ""


def test_manager_that_is_gone_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notify, "_service", None)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify.notify_ready()
    assert "cannot tell the service manager READY=1: No such file or directory" in caplog.text.replace("[Errno 2] ", "")


def test_manager_that_does_not_read_holds_nobody_up(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(10_000):
        notify.notify_ready("x" * 100)
        if caplog.records:
            break
    assert "cannot tell the service manager READY=1" in caplog.text


@pytest.mark.plugin("memory")
@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((), id="one process"),
        pytest.param(("--workers", "2"), id="workers"),
        pytest.param(("--server", "granian", "--workers", "2"), id="granian"),
    ],
)
def test_server_says_when_it_answers_reloads_and_stops(tmp_path: Path, flags: tuple[str, ...]) -> None:
    config = tmp_path / "tsa.toml"
    config.write_text('[profiles.default]\nsigner = "memory:"\n[metrics]\nport = 0\n')
    manager = Manager(str(tmp_path / "notify"))
    try:
        with ServerProcess(config, *flags, environ={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as server:
            ready = manager.receive()
            assert ready["READY"] == "1"
            assert ready["STATUS"].startswith(f"listening on http://127.0.0.1:{server.port}")
            assert server.stamp(encode_request()).status == 200
            assert manager.heard_nothing_more()

            server.process.send_signal(signal.SIGHUP)
            assert manager.receive().keys() == {"RELOADING", "MONOTONIC_USEC"}
            again = manager.receive()
            assert again["READY"] == "1"
            assert "profile default" in again["STATUS"]

            config.write_text("[server]\nprot = 1\n")
            server.process.send_signal(signal.SIGHUP)
            assert "RELOADING" in manager.receive()
            refused = manager.receive()
            assert refused["READY"] == "1"
            assert refused["STATUS"].startswith("reload refused: ")

            server.process.send_signal(signal.SIGTERM)
            assert manager.receive() == {"STOPPING": "1"}
            assert server.process.wait(SECONDS) == 0
        assert manager.heard_nothing_more()
    finally:
        manager.socket.close()
