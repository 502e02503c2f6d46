"""What tests of the NTP monitor wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tsa_core.authority import ClockGate, ClockState
from tsa_core.testing import wait_until
from tsa_core.testing.ntp_responder import NtpResponder
from tsa_monitor_ntp.monitor import NtpMonitor

WITHIN = 15.0
"""Seconds, for a busy machine; nothing is judged by them."""
Watch: TypeAlias = Callable[..., tuple[NtpMonitor, ClockGate]]


def reach(gate: ClockGate, state: ClockState, reason: str = "") -> None:
    """Wait for a state whose reason, at the same time, holds these words."""

    def reached() -> bool:
        status = gate.status()
        return status.state is state and reason in status.reason

    wait_until(reached, seconds=WITHIN, what=f"{state} {reason!r} ({gate.status()})")


def rounds(responders: list[NtpResponder], count: int) -> None:
    """Wait until the servers have been asked again `count` times."""
    before = [responder.requests for responder in responders]
    wait_until(
        lambda: all(r.requests >= b + count for r, b in zip(responders, before, strict=True)),
        seconds=WITHIN,
        what=f"{count} more rounds",
    )


def believed(monitor: NtpMonitor, used: list[bool]) -> None:
    """Wait for a round in which every server answers in time, and these are believed.

    On a machine that is busy, an answer now and then comes too late for its round.
    """

    def states() -> list[tuple[str, bool | None]]:
        return [(report.outcome, report.used) for report in monitor.sources()]

    wanted = [("answered", each) for each in used]
    wait_until(lambda: states() == wanted, seconds=WITHIN, what=f"{wanted} ({states()})")
