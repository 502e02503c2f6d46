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
_HANGS_SECONDS = 30.0


def returns_within(call: Callable[[], T], *, seconds: float, doing: str, remedy: str) -> T:
    """Return what a call returns, and raise what it raises; fail the test when it has not returned after `seconds`."""
    try:
        return within_limit(call, seconds=seconds, name="contract")
    except Overdue:
        pytest.fail(f"{doing} has not returned after {seconds:g} s: {remedy}", pytrace=False)


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
