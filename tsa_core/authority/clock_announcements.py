"""Tells the log and listeners what the clock gate has found: changes of its state, and steps of the clock."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from tsa_core.authority.clock_state import ClockState, ClockStatus
from tsa_core.authority.clock_steps import ClockStep

log = logging.getLogger(__name__)

T = TypeVar("T")


class ClockChange(NamedTuple):
    """A change of the gate's state. `time` is that of the clock, if it can be read."""

    previous: ClockStatus
    status: ClockStatus
    time: datetime


class ClockAnnouncements:
    """Queues what was found until a thread that holds no lock of the gate delivers it. Thread-safe.

    An exception of a listener is logged. `of_changes` and `of_steps` are the listeners.
    """

    def __init__(self) -> None:
        self.of_changes: list[Callable[[ClockChange], None]] = []
        self.of_steps: list[Callable[[ClockStep], None]] = []
        self._found: deque[ClockChange | ClockStep] = deque()

    def __bool__(self) -> bool:
        return bool(self._found)

    def put(self, found: ClockChange | ClockStep) -> None:
        """Queue something; waits for nothing."""
        self._found.append(found)

    def deliver(self) -> None:
        """Tell everything that is queued, in its order."""
        while self._found:
            with contextlib.suppress(IndexError):  # another thread has delivered it
                found = self._found.popleft()
                if isinstance(found, ClockStep):
                    log.warning("the clock was set by %+.6f s, or the machine slept", found.seconds)
                    _tell(self.of_steps, found)
                else:
                    _log_change(found)
                    _tell(self.of_changes, found)


def _log_change(change: ClockChange) -> None:
    status = change.status
    log.log(
        logging.INFO if status.healthy and status.state is not ClockState.HOLDOVER else logging.WARNING,
        "clock state=%s previous=%s issuing=%s offset=%s error_bound=%s uncovered=%s reason=%s",
        status.state.value,
        change.previous.state.value,
        str(status.issuing).lower(),
        _seconds_text(status.offset),
        _seconds_text(status.error_bound),
        ",".join(status.uncovered) or "-",
        f'"{status.reason}"',
    )


def _tell(listeners: Sequence[Callable[[T], None]], found: T) -> None:
    for listener in listeners:
        try:
            listener(found)
        except Exception:
            log.exception("a listener to the clock's state failed")


def _seconds_text(duration: timedelta | None) -> str:
    return "-" if duration is None else f"{duration.total_seconds():.6f}"
