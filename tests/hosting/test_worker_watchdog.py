"""Workers that die or hang: each is replaced, the service goes on, and its exit code says why it ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.hosting.test_notify import Manager
from tsa_core.api import ConfigError, SignerUnavailable, TemporaryFailure, UnavailableError
from tsa_core.config import ServerSettings
from tsa_core.hosting.heartbeat import Loop, WorkerHeartbeats
from tsa_core.hosting.workers import watchdog as watchdog_module
from tsa_core.hosting.workers.pool import WorkerPool
from tsa_core.hosting.workers.watchdog import Watchdog
from tsa_core.testing import ServerProcess, encode_request, wait_until

SECONDS = 60.0
ENGINES = [
    pytest.param(("--server", "waitress"), id="waitress"),
    pytest.param(("--server", "granian"), id="granian", marks=pytest.mark.package("granian")),
]
needs_proc = pytest.mark.needs(Path("/proc/self/task").exists(), "finds workers through /proc")


def config(folder: Path, *, more: str = "") -> Path:
    path = folder / "tsa.toml"
    path.write_text(
        f'[server]\nworkers = 2\nworker_timeout = "2s"\n{more}\n[profiles.default]\nsigner = "memory:"\n'
        "[metrics]\nenabled = false\n"
    )
    return path


def two_others(server: ServerProcess, gone: set[int]) -> bool:
    """Say whether there are two workers beside those that are gone."""
    return len(server.workers() - gone) == 2


@needs_proc
@pytest.mark.plugin("memory")
@pytest.mark.parametrize("engine", ENGINES)
def test_workers_that_die_again_and_again_are_replaced_and_the_service_goes_on(
    engine: tuple[str, ...], tmp_path: Path
) -> None:
    """granian's own process manager ended the service, with the code of a wrong configuration."""
    with ServerProcess(config(tmp_path), *engine) as server:
        gone: set[int] = set()
        for _ in range(3):
            victims = server.workers() - gone
            for victim in victims:
                os.kill(victim, signal.SIGKILL)
            gone |= victims
            wait_until(partial(two_others, server, gone), seconds=SECONDS, what="they are replaced")
        assert server.stamp(encode_request()).status == 200


@needs_proc
@pytest.mark.plugin("memory")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_worker_that_hangs_is_killed_and_replaced(engine: tuple[str, ...], tmp_path: Path) -> None:
    with ServerProcess(config(tmp_path), *engine) as server:
        victim = min(server.workers())
        os.kill(victim, signal.SIGSTOP)
        server.wait_for_log(rf"worker {victim} has not answered for \d+ s; it is killed and replaced")
        wait_until(lambda: victim not in server.workers(), seconds=SECONDS, what="it is gone")
        wait_until(lambda: len(server.workers()) == 2, seconds=SECONDS, what="another is there")
        for _ in range(20):
            assert server.stamp(encode_request()).status == 200


class Time:
    """The parent's monotonic clock."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    fake = Time()
    monkeypatch.setattr(watchdog_module, "time", fake)
    return fake


def test_a_loop_that_never_began_or_still_beats_is_not_overdue(clock: Time) -> None:
    heartbeats = WorkerHeartbeats(2)
    watchdog = Watchdog(heartbeats, seconds=10, ending_seconds=20)
    worker = heartbeats.of(1)
    for _ in range(100):
        worker.beat(Loop.WAITRESS)
        assert not watchdog.overdue_seconds(0)
        assert not watchdog.overdue_seconds(1)
        clock.now += 0.5


def test_one_loop_that_stands_still_is_enough(clock: Time) -> None:
    heartbeats = WorkerHeartbeats(1)
    watchdog = Watchdog(heartbeats, seconds=10, ending_seconds=20)
    worker = heartbeats.of(0)
    worker.beat(Loop.GRANIAN)
    overdue = []
    for _ in range(30):
        worker.beat(Loop.WAITRESS)
        overdue.append(watchdog.overdue_seconds(0))
        clock.now += 0.5
    assert overdue[:20] == [0.0] * 20
    assert overdue[-1] > 10
    watchdog.clear(0)
    assert not watchdog.overdue_seconds(0)


def test_only_the_time_counts_in_which_the_parent_ran(clock: Time) -> None:
    heartbeats = WorkerHeartbeats(1)
    watchdog = Watchdog(heartbeats, seconds=10, ending_seconds=20)
    heartbeats.of(0).beat(Loop.WAITRESS)
    assert not watchdog.overdue_seconds(0)
    clock.now += 3600
    assert not watchdog.overdue_seconds(0), "the machine was suspended"


def test_a_worker_that_ends_has_another_limit(clock: Time) -> None:
    heartbeats = WorkerHeartbeats(1)
    watchdog = Watchdog(heartbeats, seconds=10, ending_seconds=20)
    worker = heartbeats.of(0)
    worker.beat(Loop.WAITRESS)
    worker.end()
    worker.beat(Loop.WAITRESS)
    overdue = []
    for _ in range(50):
        overdue.append(watchdog.overdue_seconds(0))
        clock.now += 0.5
    assert overdue[:40] == [0.0] * 40
    assert overdue[-1] > 20


def test_no_limit_is_none(clock: Time) -> None:
    heartbeats = WorkerHeartbeats(1)
    watchdog = Watchdog(heartbeats, seconds=0, ending_seconds=20)
    heartbeats.of(0).beat(Loop.WAITRESS)
    for _ in range(1000):
        assert not watchdog.overdue_seconds(0)
        clock.now += 1


def test_the_limit_without_workers_is_an_error() -> None:
    with pytest.raises(ValueError, match="worker_timeout has no effect with one process"):
        ServerSettings(worker_timeout="5s")
    ServerSettings(worker_timeout="5s", workers=2)


@pytest.fixture
def _handlers() -> Iterator[None]:
    """WorkerPool takes the signals of the process that it runs in."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield None
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def dies(_report: Callable[[Mapping[str, object]], None], _slot: int) -> None:
    os._exit(3)


def crashes(_report: Callable[[Mapping[str, object]], None], _slot: int) -> None:
    raise RuntimeError("a bug")


def is_wrong(_report: Callable[[Mapping[str, object]], None], _slot: int) -> None:
    raise ConfigError("the chain is not there")


def is_down(_report: Callable[[Mapping[str, object]], None], _slot: int) -> None:
    raise SignerUnavailable("the backend is down")


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize(
    ("work", "temporary"),
    [(dies, True), (crashes, True), (is_down, True), (is_wrong, False)],
    ids=["dies", "crashes", "is down", "is wrong"],
)
def test_only_a_wrong_configuration_ends_the_start_with_its_code(
    work: Callable[[Callable[[Mapping[str, object]], None], int], None], temporary: bool
) -> None:
    """A worker that dies before it serves, of the kernel's want of memory for example, may live at the next start."""
    with pytest.raises(ConfigError) as raised:
        WorkerPool(work, count=2).run(lambda _facts: None, graceful_seconds=5)
    assert isinstance(raised.value, UnavailableError) == isinstance(raised.value, TemporaryFailure) == temporary


@pytest.mark.plugin("memory")
@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((), id="waitress"),
        pytest.param(("--server", "granian"), id="granian", marks=pytest.mark.package("granian")),
        pytest.param(("--workers", "2"), id="workers"),
    ],
)
def test_the_service_manager_is_told_that_the_loops_run(flags: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "tsa.toml"
    path.write_text('[profiles.default]\nsigner = "memory:"\n[metrics]\nenabled = false\n')
    address = str(tmp_path / "notify")
    manager = Manager(address)
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}
    try:
        with ServerProcess(path, *flags, environ=environ):
            assert manager.receive()["READY"] == "1"
            for _ in range(3):
                assert manager.receive() == {"WATCHDOG": "1"}
    finally:
        manager.socket.close()


def test_one_loop_that_stands_still_keeps_the_watchdog_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    from tsa_core.hosting import heartbeat

    told: list[float] = []
    fake = Time()
    monkeypatch.setattr(heartbeat, "time", fake)
    monkeypatch.setattr(heartbeat, "notify_watchdog", lambda: told.append(fake.now))
    beats = heartbeat.ServiceHeartbeat()
    beats.beat(Loop.GRANIAN)
    for _ in range(20):
        beats.beat(Loop.WAITRESS)
        fake.now += 0.5
    assert told
    assert max(told) <= 1002, "granian's loop has not beaten since"
