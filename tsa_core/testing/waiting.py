"""Waiting in tests: as briefly as possible, never for ever, and without a verdict on how fast the machine is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

_FIRST_PAUSE_SECONDS = 0.005
_LONGEST_PAUSE_SECONDS = 0.05
_LONGER = 1.3
"""Each pause is longer than the one before: what takes a second is not asked for a hundred times."""
_LATE_SECONDS = 20.0
"""By how much a machine with better things to do may be late."""


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Return as soon as `condition()` holds; raises AssertionError, naming `what`, when it does not in time."""
    deadline = monotonic() + seconds
    event, pause = threading.Event(), _FIRST_PAUSE_SECONDS
    while not condition():
        assert monotonic() < deadline, f"{what}: not within {seconds:g} s"
        event.wait(pause)
        pause = min(_LONGER * pause, _LONGEST_PAUSE_SECONDS)


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """Check that the block ends after `seconds`, a time limit under test, or as much later as a busy machine may be.

    Raises AssertionError when it takes longer. What the limit protects from has to take longer still: for ever, best.
    """
    started = monotonic()
    yield
    took = monotonic() - started
    assert took < seconds + _LATE_SECONDS, f"the limit was {seconds:g} s, and it took {took:.1f} s"
