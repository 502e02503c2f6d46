"""Runs one function on many threads at once, to see whether it stands that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_START_SECONDS = 30.0


def on_threads(function: Callable[[ItemT], ResultT], items: Sequence[ItemT], *, threads: int = 8) -> list[ResultT]:
    """Return `function(item)` of every item, in order; all threads begin together. Raises the first exception."""
    start = threading.Barrier(threads)

    def run_share(share: int) -> list[ResultT]:
        start.wait(_START_SECONDS)
        return [function(item) for item in items[share::threads]]

    with ThreadPoolExecutor(threads) as pool:
        shares = list(pool.map(run_share, range(threads)))
    return [shares[number % threads][number // threads] for number in range(len(items))]
