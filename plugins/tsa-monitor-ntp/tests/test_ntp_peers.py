"""What becomes of the threads that ask: one for each server, and nothing that fails once keeps a server out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tsa_backends.watched_clock import WITHIN, reach
from tsa_core.api.ntp.peer import Peer
from tsa_core.authority import ClockState
from tsa_core.builtin.clock import SystemClock
from tsa_core.testing import wait_until
from tsa_core.testing.ntp_responder import NtpResponder
from tsa_monitor_ntp.monitor import NtpMonitor
from tsa_monitor_ntp.options import NtpOptions

from .ntp_world import Watch, rounds


@pytest.fixture
def without_threads(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While the event is set, no thread that asks a server can be started, as at the limit of the user's processes."""
    exhausted, start = threading.Event(), threading.Thread.start

    def start_or_fail(thread: threading.Thread) -> None:
        if exhausted.is_set() and thread.name.startswith("ntp-peer"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_fail)
    return exhausted


def test_a_moment_without_threads_is_said_and_heals(
    watch: Watch, without_threads: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    without_threads.set()
    monitor, gate = watch()
    wait_until(lambda: monitor.verdict().checked_at > 0, seconds=WITHIN, what="a round without threads")
    assert monitor.verdict().reason == "too few time servers can be asked"
    assert {report.outcome for report in monitor.sources()} == {"not asked: can't start new thread"}
    errors = [record for record in caplog.records if record.name == "tsa_core.api.ntp.peer_thread"]
    assert len(errors) == 4, "one line for each server, not one for each round"
    without_threads.clear()
    reach(gate, ClockState.SYNCHRONISED)


# The thread's end is the test's own doing.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_peer_whose_thread_has_died_is_asked_again(
    watch: Watch, responders: list[NtpResponder], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, died = Peer.ask, threading.Event()

    def die_once(peer: Peer, *arguments: Any) -> Any:
        if peer.name == responders[0].server and not died.is_set():
            died.set()
            raise SystemExit
        return ask(peer, *arguments)

    monkeypatch.setattr(Peer, "ask", die_once)
    _, gate = watch(server_threshold=4)
    assert died.wait(WITHIN)
    reach(gate, ClockState.SYNCHRONISED)


def test_a_server_is_asked_by_one_long_lived_thread(watch: Watch, responders: list[NtpResponder]) -> None:
    _, gate = watch()
    reach(gate, ClockState.SYNCHRONISED)

    def askers() -> set[int | None]:
        return {thread.ident for thread in threading.enumerate() if thread.name.startswith("ntp-peer")}

    first = askers()
    assert len(first) == 4
    rounds(responders, 3)
    assert askers() == first


def test_a_liar_among_three_cannot_narrow_the_bound(responders: list[NtpResponder], watch: Watch) -> None:
    # The clock is 1.2 s slow. Two honest servers are not certain enough to tell; a liar confirms the clock exactly.
    responders[0].offset, responders[0].root_dispersion = 0.1, 1.2
    responders[1].offset, responders[1].root_dispersion = 1.2, 1.3
    responders[2].offset, responders[2].root_dispersion = 0.0, 0.0
    responders[3].silent = True
    monitor, gate = watch(max_time_delta="2s")
    wait_until(lambda: monitor.verdict().checked_at > 0, seconds=WITHIN, what="one round")
    uncertainty, offset = monitor.verdict().uncertainty, monitor.verdict().offset
    assert uncertainty is not None
    assert offset is not None
    assert abs(offset) + uncertainty >= timedelta(seconds=1.2)
    assert gate.status().state is ClockState.UNSYNCHRONISED


def test_a_hanging_resolver_does_not_hold_up_the_round(
    responders: list[NtpResponder], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    resolve, release = socket.getaddrinfo, threading.Event()

    def hang(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if port == responders[0].port:
            release.wait(30)
        return resolve(host, port, *args, **more)

    monkeypatch.setattr("tsa_core.api.ntp.query.socket.getaddrinfo", hang)
    try:
        monitor, _ = watch(server_threshold=3)
        wait_until(lambda: monitor.verdict().trusted, seconds=10, what="three others suffice")
        rounds(responders[1:], 2)
        wait_until(
            lambda: "does the resolver hang?" in monitor.sources()[0].outcome,
            seconds=WITHIN,
            what="the operator is told",
        )
        names = [thread.name for thread in threading.enumerate()]
        assert names.count(f"ntp-peer {responders[0].server}") == 1
    finally:
        release.set()


def test_a_denial_outlives_a_reload_with_other_settings(
    responders: list[NtpResponder], table: Callable[..., dict[str, Any]], watch: Watch
) -> None:
    responders[0].stratum, responders[0].reference = 0, b"DENY"
    before, gate = watch()
    reach(gate, ClockState.SYNCHRONISED)
    wait_until(lambda: "DENY" in before.memory(), seconds=WITHIN, what="the denial is known")
    assert responders[0].requests == 1
    after = NtpMonitor(NtpOptions.model_validate(table(period="150ms")))
    after.remember(before.memory())
    before.stop()
    assert after.sources()[0].outcome == "kiss-o'-death DENY"
    after.start(SystemClock())
    try:
        rounds(responders[1:], 3)
        assert responders[0].requests == 1
    finally:
        after.stop()


def test_a_denial_ends_with_its_period(table: Callable[..., dict[str, Any]], responders: list[NtpResponder]) -> None:
    monitor = NtpMonitor(NtpOptions.model_validate(table()))
    [peer] = [peer for peer in monitor._peers if peer.name == responders[0].server]
    peer.penalty = (time.monotonic() - 1.0, 86400.0, "kiss-o'-death DENY")
    assert monitor.memory() == "{}"
    monitor.start(SystemClock())
    try:
        rounds(responders, 1)
    finally:
        monitor.stop()
