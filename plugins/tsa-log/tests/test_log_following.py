"""`timestamp-cli log monitor --follow`: an outage is told and outlived, and never taken for a look."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tsa_core.client.log_monitor import MOST_AT_ONCE

from .engines import FakeEngine
from .logs import LOG_KEY, ORIGIN, numbered

SECONDS = 120.0


class Monitor:
    """timestamp-cli log monitor, as a service manager runs it; killed when the test forgets it."""

    def __init__(self, url: str, *flags: str | Path) -> None:
        command = [sys.executable, "-m", "tsa_core.cli.timestamp", "log", "monitor", url, "--log-key", str(LOG_KEY.key)]
        self.process = subprocess.Popen(
            [*command, *map(str, flags)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)

    def says(self, text: str) -> str:
        """Return the first line from here on that has the text."""
        while text not in (line := self.lines.get(timeout=SECONDS)):
            pass
        return line

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path / "origin") as engine:
        engine.fill(numbered(0, 5))
        yield engine


def test_an_outage_is_told_and_outlived(origin: FakeEngine, tmp_path: Path) -> None:
    state = tmp_path / "log.seen"
    with Monitor(origin.url, "--state", state, "--follow", "--every", "1") as monitor:
        assert monitor.says(ORIGIN) == f"{ORIGIN}: 5 entries, 5 of them new\n"
        origin.stop()
        monitor.says("nothing was seen since ")
        assert "asking again in " in monitor.says("nothing was seen since ")
        assert json.loads(state.read_text())["size"] == 5
        origin.start()
        origin.fill(numbered(5, 8))
        monitor.says(f"{ORIGIN}: 8 entries, 3 of them new")
        monitor.says(f"{ORIGIN}: 8 entries, 0 of them new")
        assert json.loads(state.read_text())["size"] == 8
        assert monitor.end(signal.SIGTERM) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.seen", "origin"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_that_ends_while_it_is_blind_says_so_by_its_exit_code(origin: FakeEngine, number: signal.Signals) -> None:
    origin.stop()
    with Monitor(origin.url, "--follow", "--every", "1") as monitor:
        monitor.says("nothing was seen since ")
        assert monitor.end(number) == 75


def test_a_look_that_hangs_is_ended_by_a_signal() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Monitor(url, "--follow", "--timeout", "1h") as monitor:
            connection, _ = silent.accept()
            with connection:
                assert monitor.end(signal.SIGTERM) == 0


def test_a_script_sees_the_outage_among_the_documents(origin: FakeEngine) -> None:
    origin.stop()
    with Monitor(origin.url, "--follow", "--every", "1", "--format", "json") as monitor:
        document = json.loads(monitor.says("{"))
        assert set(document) == {"Unreachable", "NothingSince"}
        origin.start()
        assert json.loads(monitor.says("Origin"))["Size"] == 5


def test_one_that_gives_up_ends_with_a_code_of_its_own(origin: FakeEngine) -> None:
    origin.stop()
    with Monitor(origin.url, "--follow", "--every", "1", "--give-up-after", "2") as monitor:
        monitor.says(", for 2 s")
        assert monitor.process.wait(SECONDS) == 75


def test_one_look_that_fails_is_no_finding(origin: FakeEngine) -> None:
    origin.stop()
    with Monitor(origin.url) as monitor:
        monitor.says("nothing was checked")
        assert monitor.process.wait(SECONDS) == 75


@pytest.mark.parametrize("follow", [(), ("--follow", "--every", "1")], ids=["once", "followed"])
def test_what_was_checked_of_a_long_log_need_not_be_read_again(
    origin: FakeEngine, tmp_path: Path, follow: tuple[str, ...]
) -> None:
    """Each portion has its own time limit, so a log of any length can be looked at for the first time."""
    size = MOST_AT_ONCE + 700
    origin.fill(numbered(5, size))
    state, late = tmp_path / "log.seen", origin.folder / "tile/entries/128"
    late.rename(tmp_path / "late")
    with Monitor(origin.url, "--state", state) as monitor:
        monitor.says("128")
        assert monitor.process.wait(SECONDS) != 0
    assert json.loads(state.read_text())["size"] == MOST_AT_ONCE
    (tmp_path / "late").rename(late)
    with Monitor(origin.url, "--state", state, *follow) as monitor:
        assert monitor.says(ORIGIN) == f"{ORIGIN}: {size} entries, 700 of them new\n"
        assert (monitor.end(signal.SIGTERM) if follow else monitor.process.wait(SECONDS)) == 0
    state.unlink()
    with Monitor(origin.url, "--state", state, *follow) as monitor:
        assert monitor.says(ORIGIN) == f"{ORIGIN}: {size} entries, {size} of them new\n"
        assert (monitor.end(signal.SIGTERM) if follow else monitor.process.wait(SECONDS)) == 0


def test_a_finding_ends_it(origin: FakeEngine, tmp_path: Path) -> None:
    with Monitor(origin.url, "--follow", "--every", "1") as monitor:
        monitor.says("5 of them new")
        origin.stop()
        monitor.says("nothing was seen since ")
        with FakeEngine(tmp_path / "fork", port=origin.port) as fork:
            fork.fill(numbered(10, 17))
            monitor.says("does not continue what it signed before")
            assert monitor.process.wait(SECONDS) == 1
