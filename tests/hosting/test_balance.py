"""Workers share connections evenly: who has more leaves new ones to others, and lets some clients connect again."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from tsa_core.config import load_settings
from tsa_core.hosting import balance
from tsa_core.hosting.balance import ACCEPTED_AT_ONCE, Acceptor, Balance, WorkerBalances
from tsa_core.hosting.sockets import listen
from tsa_core.hosting.waitress.server import WaitressServer
from tsa_core.testing import ServerProcess, wait_until

CLIENTS = 32
DEADLINE_SECONDS = 120.0


class _Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Time:
    found = _Time()
    monkeypatch.setattr(balance, "time", found)
    return found


def pair(acceptor: Acceptor = Acceptor.WAITRESS) -> tuple[Balance, Balance]:
    workers = WorkerBalances(2)
    return workers.of(0)(acceptor), workers.of(1)(acceptor)


def test_a_worker_without_others_accepts_all(clock: _Time) -> None:
    alone = WorkerBalances(1).of(0)(Acceptor.WAITRESS)
    alone.publish(500)
    assert alone.room(500) == ACCEPTED_AT_ONCE
    assert alone.to_let_go(500) == 0


def test_who_has_more_leaves_connections_to_others_for_a_moment(clock: _Time) -> None:
    mine, other = pair()
    other.publish(0)
    assert mine.room(0) == 8
    assert mine.room(8) == 0
    assert 0.0 < mine.deferral_seconds() <= 0.002


def test_what_others_do_not_take_is_taken_after_all(clock: _Time) -> None:
    mine, other = pair()
    other.publish(0)
    assert mine.room(10) == 0
    assert not mine.resume()
    clock.now += 0.0021
    assert mine.deferral_seconds() <= 0
    assert mine.resume()
    assert mine.room(10) == ACCEPTED_AT_ONCE
    assert not mine.resume()
    assert mine.room(26) == 0, "the next ones are left to others again"


def test_what_others_do_not_take_is_taken_after_a_turn_of_any_length(clock: _Time) -> None:
    mine, other = pair()
    other.publish(0)
    assert mine.room(10) == 0
    clock.now += 1.0
    assert mine.resume()
    assert mine.room(10) == ACCEPTED_AT_ONCE


def test_what_comes_long_after_a_deferral_is_left_to_others_again(clock: _Time) -> None:
    mine, other = pair()
    other.publish(0)
    assert mine.room(10) == 0
    clock.now += 0.0021
    assert mine.resume()
    clock.now += 1.0
    other.publish(0)
    assert not mine.resume()
    assert mine.room(10) == 0


def test_a_worker_that_reads_for_long_before_it_accepts_takes_what_others_have_not(clock: _Time) -> None:
    mine, other = pair()

    def app(_environ: object, start_response: Callable[..., object]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "1")])
        return [b"."]

    def read_for_long(read: Callable[[], None]) -> None:
        clock.now += 0.1
        read()

    settings = load_settings(overrides={"server": {"port": 0}}, environ={}).server
    listening = listen(settings)
    address = listening[0].getsockname()[:2]
    server = WaitressServer(app, settings, sockets=listening, balance=mine)
    server._servers[0].io_thread = threading.get_ident()

    def turn() -> float:
        pause = server._share(mine, 1.0)
        server._turn(0.0)
        return pause

    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(12)]
        turn()
        other.publish(0)  # and then that one is stopped
        for channel in server._channels():
            channel.handle_read = partial(read_for_long, channel.handle_read)
        stack.enter_context(socket.create_connection(address))
        pauses, accepted = [], []
        for _ in range(4):
            clients[0].sendall(b"P")
            pauses.append(turn())
            accepted.append(server._slots.added - len(clients))
        server._close()
    assert accepted == [0, 0, 1, 1], "left to the other worker once, and then taken"
    assert pauses == [1.0, pytest.approx(0.002), 0.0, 1.0], "the turn that takes what waits does not wait for more"


def test_a_worker_accepts_again_after_a_turn_that_was_longer_than_the_deferral(clock: _Time) -> None:
    mine, other = pair()

    def app(_environ: object, start_response: Callable[..., object]) -> Iterable[bytes]:
        clock.now += 0.1
        start_response("200 OK", [("Content-Length", "1")])
        return [b"."]

    settings = load_settings(overrides={"server": {"port": 0}}, environ={}).server
    sockets = listen(settings)
    address = sockets[0].getsockname()[:2]
    server = WaitressServer(app, settings, sockets=sockets, balance=mine)
    server._servers[0].io_thread = threading.get_ident()

    def turn() -> None:
        server._share(mine, 0.0)
        server._turn(0.0)

    with ExitStack() as clients:
        kept = [clients.enter_context(socket.create_connection(address)) for _ in range(12)]
        turn()
        assert len(server._channels()) == len(kept)
        other.publish(0)
        kept[0].sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        clients.enter_context(socket.create_connection(address))
        turn()
        assert len(server._channels()) == len(kept), "the new one is left to the other worker"
        turn()
        assert len(server._channels()) == len(kept) + 1
        server._close()


def test_a_batch_of_connections_that_end_is_followed_by_a_larger_one(clock: _Time) -> None:
    mine, other = pair()
    other.publish(0)
    assert mine.room(0) == 8
    mine.accepted(0, 8)
    assert mine.room(4) == 12, "16 above the least, and half of the last ones are still there"
    mine.accepted(4, 12)
    assert mine.room(4) == 12, "those have ended too"
    mine.accepted(4, 12)
    assert mine.room(16) == 0, "those are kept"


@pytest.mark.parametrize(("accepted", "left"), [(8, 5), (7, 0)], ids=["more than half kept", "less than a batch"])
def test_no_larger_batch_follows_one_that_is_kept_or_small(clock: _Time, accepted: int, left: int) -> None:
    mine, other = pair()
    other.publish(0)
    assert mine.room(0) == 8
    mine.accepted(0, accepted)
    assert mine.room(left) == 8 - left


@pytest.mark.parametrize("kept", [False, True], ids=["closed", "kept"])
def test_two_workers_answer_as_many_brief_connections_in_a_turn_as_one_does(clock: _Time, kept: bool) -> None:
    mine, other = pair()
    other.publish(0)

    def app(_environ: object, start_response: Callable[..., object]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "1")])
        return [b"."]

    settings = load_settings(overrides={"server": {"port": 0}}, environ={}).server
    listening = listen(settings)
    server = WaitressServer(app, settings, sockets=listening, balance=mine)
    server._servers[0].io_thread = threading.get_ident()
    end = "" if kept else "Connection: close\r\n"
    with ExitStack() as clients:
        for _ in range(24):
            client = clients.enter_context(socket.create_connection(listening[0].getsockname()[:2]))
            client.sendall(f"GET /ping HTTP/1.1\r\nHost: x\r\n{end}\r\n".encode("ascii"))
        accepted = []
        for _ in range(2):
            before = server._slots.added
            other.publish(2)  # its listening socket, and what wakes its loop
            server._share(mine, 0.0)
            server._turn(0.0)
            accepted.append(server._slots.added - before)
        server._close()
    assert accepted == ([8, 0] if kept else [8, ACCEPTED_AT_ONCE])


def test_a_worker_that_publishes_nothing_any_more_does_not_count(clock: _Time) -> None:
    mine, other = pair()
    other.publish(0)
    clock.now += 2.1
    assert mine.room(100) == ACCEPTED_AT_ONCE
    assert mine.to_let_go(100) == 0


def test_half_of_what_is_too_many_is_let_go(clock: _Time) -> None:
    mine, other = pair()
    other.publish(16)
    assert mine.to_let_go(22) == 0
    assert mine.to_let_go(62) == 20


def test_each_listener_has_counts_of_its_own(clock: _Time) -> None:
    workers = WorkerBalances(2)
    workers.of(1)(Acceptor.GRANIAN_TLS).publish(0)
    mine = workers.of(0)(Acceptor.GRANIAN_PLAIN)
    mine.publish(100)
    assert mine.to_let_go(100) == 0


@pytest.fixture(params=["waitress", "granian"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ServerProcess(None, "--port", "0", "--server", request.param, "--workers", "2") as running:
        yield running


def sockets(pid: int) -> int:
    """Return how many sockets a process has."""
    found = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found += str(each.readlink()).startswith("socket:")
    return found


def is_stopped(pid: int) -> bool:
    """Say whether all threads of a process stand still; those on other CPUs go on for a moment."""
    states = [each.read_text().rpartition(")")[2].split()[0] for each in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) == {"T"}


def ping(client: http.client.HTTPConnection) -> None:
    client.request("GET", "/ping")
    assert client.getresponse().read() == b"."


@pytest.mark.plugin("memory")
@pytest.mark.needs(Path("/proc/self/fd").exists(), "sees connections through /proc")
def test_kept_connections_are_shared_by_the_workers(server: ServerProcess) -> None:
    before = {pid: sockets(pid) for pid in server.workers()}
    stopped = min(before)
    os.kill(stopped, signal.SIGSTOP)  # so that the other one gets all of them
    wait_until(lambda: is_stopped(stopped), seconds=DEADLINE_SECONDS, what="the worker has stopped")
    clients = [http.client.HTTPConnection(*server.address(), timeout=DEADLINE_SECONDS) for _ in range(CLIENTS)]
    try:
        for client in clients:
            client.connect()
            ping(client)
    finally:
        os.kill(stopped, signal.SIGCONT)

    def shared() -> bool:
        for client in clients:  # each keeps its connection while the server does
            ping(client)
        return sum(sockets(pid) - before[pid] >= CLIENTS // 4 for pid in before) == 2

    try:
        wait_until(shared, seconds=DEADLINE_SECONDS, what="both workers have a share of the clients")
    finally:
        for client in clients:
            client.close()
