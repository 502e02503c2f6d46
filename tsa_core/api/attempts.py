"""Trying a call to a remote backend again, within the time that the core allows for it."""

from __future__ import annotations

import itertools
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


def within_deadline(
    call: Callable[[float], T], *, timeout: float, attempts: int | None = None, least: float = _WORTHWHILE_SECONDS
) -> T:
    """Return `call(seconds)`, trying again after SignerUnavailable until `timeout` seconds are over.

    `call` is handed the seconds that are left and must not take longer. Between two tries there is a random pause, up
    to 50 ms at first and twice as much each time up to 1 s, so that clients of one backend do not come back together.
    After an error with `retry_after` the pause is longer by that, and where so much time is not left the error is
    raised at once. No try begins after `attempts` tries, nor with less than `least` seconds left, nor in the last
    eighth of the time with less than twice what the longest try took.

    Raises the last SignerUnavailable, with the number of tries in its text, and at once whatever else `call` raises.
    """
    began = time.monotonic()
    longest, slowest = _FIRST_PAUSE_SECONDS, 0.0
    left, reason = timeout, ""
    for attempt in itertools.count(1):
        tried = time.monotonic()
        try:
            result = call(left)
        except SignerUnavailable as error:
            slowest = max(slowest, time.monotonic() - tried)
            needed = max(least, min(2 * slowest, timeout / 8))
            asked = error.retry_after or 0.0
            spare = began + timeout - time.monotonic() - asked - needed
            if spare > 0 and attempt != attempts:
                time.sleep(asked + random.uniform(0, min(longest, spare)))  # noqa: S311 - protects nothing
                left = began + timeout - time.monotonic()
                if left >= needed:
                    longest, reason = min(2 * longest, _LONGEST_PAUSE_SECONDS), str(error)
                    continue
            if attempt == 1:
                raise
            tries = f"tried {attempt} times in {time.monotonic() - began:.1f} s"
            before = f", before: {reason}" if reason != str(error) else ""
            raise SignerUnavailable(f"{error}; {tries}{before}", retry_after=error.retry_after) from None
        if attempt > 1:
            log.info("try %d worked; the one before failed: %s", attempt, reason)
        return result
    raise AssertionError("itertools.count does not end")
