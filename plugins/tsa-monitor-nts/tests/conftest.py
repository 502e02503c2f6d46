"""Four chronyds with NTS, shared by the tests of one process, and a CA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tsa_backends.watched_clock import Watches
from tsa_core.authority import ClockGate
from tsa_monitor_nts.monitor import NtsMonitor
from tsa_monitor_nts.options import NtsOptions

from .nts_world import KeyServerCa, NtsChronyd

FAST = {
    "period": "200ms",
    "request_timeout": "600ms",
    "request_attempts": 1,
    "max_time_delta": "1s",
    "attempt_backoff": "10ms",
    "key_exchange_pause": "100ms",
}


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> KeyServerCa:
    return KeyServerCa(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def shared_servers(ca: KeyServerCa, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NtsChronyd]]:
    """Run four time servers."""
    files = ca.issue("127.0.0.1")
    with ExitStack() as stack:
        yield [stack.enter_context(NtsChronyd(tmp_path_factory.mktemp("chronyd"), files)) for _ in range(4)]


@pytest.fixture
def servers(shared_servers: list[NtsChronyd]) -> Iterator[list[NtsChronyd]]:
    """Return four time servers that are right, and put right what a test made of them."""
    yield shared_servers
    for server in shared_servers:
        server.offset = 0.0


@pytest.fixture
def table(servers: list[NtsChronyd], ca: KeyServerCa) -> Callable[..., dict[str, Any]]:
    """Return a function that makes the settings table of a fast monitor of these servers."""

    def make(**more: Any) -> dict[str, Any]:
        return {"servers": [server.server for server in servers], "ca": str(ca.file), **FAST, **more}

    return make


@pytest.fixture
def watch(table: Callable[..., dict[str, Any]]) -> Iterator[Callable[..., tuple[NtsMonitor, ClockGate]]]:
    """Return a function that starts a monitor and the gate above it."""
    with Watches(lambda settings: NtsMonitor(NtsOptions.model_validate(settings)), table) as watches:
        yield watches.start
