"""Turns: who pipelines requests, or has many connections, gets no more of the server than others need."""

from __future__ import annotations

import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest

from tsa_core.config import ServerSettings, load_settings
from tsa_core.hosting.sockets import listen
from tsa_core.hosting.waitress.server import WaitressServer
from tsa_core.http.batching import Batch
from tsa_core.http.fair_queue import FairQueue
from tsa_core.http.thread_pools import Pool
from tsa_core.testing import wait_until

OTHER = "127.0.0.2"
"""Another address of this machine."""
needs_linux = pytest.mark.needs(sys.platform.startswith("linux"), "has 127.0.0.2")


def ask(name: str) -> bytes:
    return f"GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


class Order:
    """An application that notes in which order requests are answered. `meanwhile` is called within the first one."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.ended = threading.Event()
        self.begin(meanwhile)

    def begin(self, meanwhile: Callable[[], None]) -> None:
        self.answered: list[str] = []
        self._meanwhile = meanwhile

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not self.answered:
            self._meanwhile()
        self.answered.append(environ["PATH_INFO"].strip("/"))
        if self.answered[-1] == "last":
            self.ended.set()
        start_response("200 OK", [("content-type", "text/plain"), ("content-length", "2")])
        return [b"ok"]


@contextmanager
def serving(app: Order) -> Iterator[tuple[str, int]]:
    settings = load_settings(overrides={"server": {"port": 0}}, environ={}).server
    sockets = listen(settings)
    server = WaitressServer(app, settings, sockets=sockets)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield sockets[0].getsockname()
    finally:
        server.stop()
        thread.join(60)


def connect(address: tuple[str, int], source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(address, timeout=60, source_address=(source, 0))


def test_a_new_client_does_not_wait_for_all_requests_of_one_that_pipelines() -> None:
    with ExitStack() as stack:
        app = Order(lambda: stack.enter_context(connect(address)).sendall(ask("honest")))
        address = stack.enter_context(serving(app))
        stack.enter_context(connect(address)).sendall(ask("pipelined") * 300 + ask("last"))
        assert app.ended.wait(60)
    assert len(app.answered) == 302
    # 16 in the turn that the new client came in, and 16 in the next one.
    assert app.answered.index("honest") <= 32


@needs_linux
def test_an_address_with_many_connections_takes_turns_with_others() -> None:
    def meanwhile() -> None:
        for each in crowd[1:]:
            each.sendall(ask("crowd"))
        honest.sendall(ask("honest"))

    with ExitStack() as stack:
        app = Order(lambda: None)
        address = stack.enter_context(serving(app))
        crowd = [stack.enter_context(connect(address)) for _ in range(200)]
        honest = stack.enter_context(connect(address, OTHER))
        for each in (*crowd, honest):  # all of them are accepted
            each.sendall(ask("before"))
            assert each.recv(4096)
        app.begin(meanwhile)
        crowd[0].sendall(ask("crowd"))
        assert honest.recv(4096)
        place = app.answered.index("honest")
        for each in crowd:
            assert each.recv(4096)
    assert len(app.answered) == 201
    # Behind the rest of the turn that it came in, and one of the crowd.
    assert place <= 16


def test_addresses_take_turns_before_threads_that_wait() -> None:
    order: list[str] = []
    done: deque[tuple[Pool, Any]] = deque()
    pool = Pool(ServerSettings(threads=1), done, Batch(pytest.fail))
    crowd = [InPool("a", f"a{number}", order) for number in range(1, 5)]
    late = [InPool("b", "b1", order), InPool("c", "c1", order)]
    for each in (*crowd, *late):
        assert pool.add(each)
    try:
        for _ in range(6):
            wait_until(lambda: bool(done), seconds=60, what="a request was answered")
            done.popleft()
            pool.finished()
    finally:
        pool.shutdown()
    # The first one ran at once; then each address has its turn.
    assert order == ["a1", "a2", "b1", "c1", "a3", "a4"]
    assert pool.pop_expired() is None


def test_what_has_waited_longest_is_refused_first() -> None:
    order: list[str] = []
    pool = Pool(ServerSettings(threads=1, queue_timeout=timedelta(0)), deque(), Batch(pytest.fail))
    first, *others = (InPool(name[0], name, order) for name in ("a1", "a2", "b1", "a3"))
    go_on = first.hold()
    assert pool.add(first)
    for each in others:
        assert pool.add(each)
    try:
        expired = [found[1].name for found in iter(pool.pop_expired, None)]
    finally:
        go_on.set()
        pool.shutdown()
    assert expired == ["a2", "b1", "a3"]


class InPool:
    """A connection with a request that a pool runs."""

    batched = None

    def __init__(self, holder: str, name: str, order: list[str]) -> None:
        self.holder = holder
        self.name = name
        self.requests = [SimpleNamespace(queued_seconds=None, get_body_stream=BytesIO)]
        self.server = SimpleNamespace(wake=lambda: None)
        self._order = order
        self._go_on = threading.Event()
        self._go_on.set()

    def hold(self) -> threading.Event:
        """Let it be answered only when this is set."""
        self._go_on.clear()
        return self._go_on

    def service(self) -> None:
        self._go_on.wait(60)
        self._order.append(self.name)

    def cancel(self) -> None:
        """Nothing is left to do."""


class Waiting:
    def __init__(self, holder: str, name: str) -> None:
        self.holder = holder
        self.name = name


def test_holders_take_turns_and_each_keeps_its_order() -> None:
    queue = FairQueue()
    for name in ("a1", "a2", "a3", "b1", "a4", "c1", "b2"):
        queue.add(Waiting(name[0], name))
    taken = [queue.take().name for _ in range(3)]
    queue.add(Waiting("d", "d1"))
    taken += [queue.take().name for _ in range(len(queue))]
    assert taken == ["a1", "b1", "c1", "a2", "b2", "d1", "a3", "a4"]
    assert not queue.lines


def test_connections_of_nobody_have_lines_of_their_own() -> None:
    queue = FairQueue()
    proxied = deque(Waiting("", f"p{number}") for number in range(3))
    for each in (Waiting("a", "a1"), Waiting("a", "a2"), *proxied):
        queue.add(each)
    queue.remove(proxied[1])
    assert [queue.take().name for _ in range(len(queue))] == ["a1", "p0", "p2", "a2"]
