"""What tests of the NTP monitor wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tsa_backends.watched_clock import WITHIN
from tsa_core.authority import ClockGate
from tsa_core.testing import wait_until
from tsa_core.testing.ntp_responder import NtpResponder
from tsa_monitor_ntp.monitor import NtpMonitor

Watch: TypeAlias = Callable[..., tuple[NtpMonitor, ClockGate]]


def rounds(responders: list[NtpResponder], count: int) -> None:
    """Wait until the servers have been asked again `count` times."""
    before = [responder.requests for responder in responders]
    wait_until(
        lambda: all(r.requests >= b + count for r, b in zip(responders, before, strict=True)),
        seconds=WITHIN,
        what=f"{count} more rounds",
    )
