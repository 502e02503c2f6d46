"""The pool is bounded and fair."""

from __future__ import annotations

import threading
import time

import pytest

from tsa_core.testing import ends_within
from tsa_signer_pkcs11.pool import FairPool


def test_last_given_back_is_taken_first() -> None:
    pool = FairPool([1, 2, 3])
    taken = pool.take(1)
    assert taken == 3
    pool.give(taken)
    assert [pool.take(1) for _ in range(3)] == [3, 2, 1]


def test_wait_is_bounded_and_leaves_nothing_behind() -> None:
    pool = FairPool([1])
    item = pool.take(1)
    started = time.monotonic()
    with ends_within(0.1), pytest.raises(TimeoutError):
        pool.take(0.1)
    assert time.monotonic() - started >= 0.1
    pool.give(item)
    assert pool.take(0) == 1


def test_busy_threads_starve_nobody() -> None:
    pool = FairPool(range(2))
    stop = threading.Event()
    counts = [0] * 6
    late: list[int] = []

    def work(number: int) -> None:
        while not stop.is_set():
            try:
                item = pool.take(1)
            except TimeoutError:
                late.append(number)
                continue
            counts[number] += 1
            pool.give(item)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    stop.wait(1.5)
    stop.set()
    for thread in threads:
        thread.join(5)
    assert not late
    assert min(counts) > 0
    assert sorted(pool.take_idle()) == [0, 1]
