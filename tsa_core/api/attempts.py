"""Trying a call to a remote backend again, within the time that the core allows for it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from tsa_core.api.errors import SignerUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0
_WORTHWHILE_SECONDS: Final = 0.02
"""With less time left than this no backend answers over a network."""


def within_deadline(call: Callable[[float], T], *, timeout: float, attempts: int) -> T:
    """Return `call(seconds)`, trying again after SignerUnavailable, all within `timeout` seconds.

    `call` is handed the seconds that are left and must not take longer. Between two of at most `attempts` tries
    there is a random pause, up to 50 ms at first and twice as much each time up to 1 s, so that clients of one
    backend do not come back together. Raises the last SignerUnavailable, and at once whatever else `call` raises.
    """
    deadline = time.monotonic() + timeout
    longest = _FIRST_PAUSE_SECONDS
    left, reason = timeout, ""
    for attempt in range(1, attempts + 1):
        try:
            result = call(left)
        except SignerUnavailable as error:
            pause = random.uniform(0, longest)  # noqa: S311 - spreads load, protects nothing
            left = deadline - time.monotonic() - pause
            if attempt == attempts or left < _WORTHWHILE_SECONDS:
                raise
            reason = str(error)
        else:
            if attempt > 1:
                log.info("attempt %d of %d worked; the one before failed: %s", attempt, attempts, reason)
            return result
        time.sleep(pause)
        left = deadline - time.monotonic()
        longest = min(2 * longest, _LONGEST_PAUSE_SECONDS)
    raise ValueError("attempts must be 1 or more")
