"""Time servers on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tsa_backends.watched_clock import Watches
from tsa_core.authority import ClockGate
from tsa_core.testing.ntp_responder import NtpResponder
from tsa_monitor_ntp.monitor import NtpMonitor
from tsa_monitor_ntp.options import NtpOptions

FAST = {
    "period": "100ms",
    "request_timeout": "500ms",
    "request_attempts": 1,
    "max_time_delta": "1s",
    "attempt_backoff": "10ms",
}


@pytest.fixture
def responders() -> Iterator[list[NtpResponder]]:
    """Run four time servers that are right."""
    with ExitStack() as stack:
        yield [stack.enter_context(NtpResponder()) for _ in range(4)]


@pytest.fixture
def table(responders: list[NtpResponder]) -> Callable[..., dict[str, Any]]:
    """Return a function that makes the settings table of a fast monitor of these servers."""

    def make(**more: Any) -> dict[str, Any]:
        return {"servers": [responder.server for responder in responders], **FAST, **more}

    return make


@pytest.fixture
def watch(table: Callable[..., dict[str, Any]]) -> Iterator[Callable[..., tuple[NtpMonitor, ClockGate]]]:
    """Return a function that starts a monitor and the gate above it."""
    with Watches(lambda settings: NtpMonitor(NtpOptions.model_validate(settings)), table) as watches:
        yield watches.start
