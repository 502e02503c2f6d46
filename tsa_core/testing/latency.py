"""Whether calls of a plugin wait: what says that it is local must not, and what waits must have an end."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import TypeVar

import pytest

from tsa_core.api.time_limit import Overdue, within_limit

T = TypeVar("T")

LOCAL_SECONDS = 0.08
"""How long what is local may wait: longer, and the server's other requests wait too, or another thread takes over."""
_CALLS = 5
_HANGS_SECONDS = 10.0
_LATE_SECONDS = 20.0
"""By how much a machine with better things to do may be late."""
_WAIT_SECONDS = 0.05


def returns_within(
    call: Callable[[], T], *, seconds: float, doing: str, remedy: str, late_seconds: float = _LATE_SECONDS
) -> T:
    """Return what a call returns, and raise what it raises; fail the test when it has not ended long after `seconds`.

    How long, is counted in waits of this thread that take `late_seconds` together where nothing delays them: what
    delays the call on a busy machine delays them, too, and a machine that was suspended has made none.
    """
    outcome: list[T | BaseException] = []

    def keep_outcome() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # noqa: BLE001 - raised below
            outcome.append(error)

    try:
        within_limit(keep_outcome, seconds=seconds, name="contract")
    except Overdue as overdue:
        for _ in range(math.ceil(late_seconds / _WAIT_SECONDS)):
            overdue.thread.join(_WAIT_SECONDS)
            if not overdue.thread.is_alive():
                break
        else:
            pytest.fail(f"{doing} has not returned long after the {seconds:g} s that it had: {remedy}", pytrace=False)
    (result,) = outcome
    if isinstance(result, BaseException):
        raise result
    return result


def check_latency(latency: str, call: Callable[[], object], *, doing: str) -> None:
    """Fail the test when a plugin is local and its call waits.

    What counts is the shortest of several calls, without the time for which it computed: a busy machine delays
    some calls, and a network or a lock all of them.
    """
    if latency == "remote":
        return
    remedy = 'let its class say latency = "remote", or do not wait for a network, another process or a lock'
    shortest = math.inf
    for _ in range(_CALLS):
        waited = returns_within(lambda: _waited(call), seconds=_HANGS_SECONDS, doing=doing, remedy=remedy)
        shortest = min(shortest, waited)
        if shortest <= LOCAL_SECONDS:
            return
    pytest.fail(
        f"{doing} waits for {shortest:.2f} s, and says that it is local: the server calls it on the thread that "
        f"answers all requests; {remedy}",
        pytrace=False,
    )


def _waited(call: Callable[[], object]) -> float:
    began, computed = perf_counter(), thread_time()
    call()
    return perf_counter() - began - (thread_time() - computed)
