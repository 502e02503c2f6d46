"""Waits for something to become true, as briefly as possible and never for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

_PAUSE_SECONDS = 0.01


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Return as soon as `condition()` holds; raises AssertionError, naming `what`, when it does not in time."""
    deadline = monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert monotonic() < deadline, f"{what}: not within {seconds:g} s"
        pause.wait(_PAUSE_SECONDS)
