"""Threads that bring more than the event loop can do are held, and never for ever; the loop is woken once."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from tsa_core.hosting.granian.event_loop import BoundedEventLoop, WakingEventLoop


def test_a_thread_that_brings_too_much_waits_and_nothing_is_lost() -> None:
    done: list[int] = []
    waiting = []

    def work(number: int) -> None:
        done.append(number)
        time.sleep(0.0001)  # what a request costs, not a wait for anything

    async def main() -> None:
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()

        def bring() -> None:
            for number in range(3000):
                loop.call_soon_threadsafe(work, number)
                waiting.append(number + 1 - len(done))
            loop.call_soon_threadsafe(finished.set)

        thread = threading.Thread(target=bring)
        thread.start()
        await finished.wait()
        thread.join(30)
        assert not thread.is_alive()

    with asyncio.Runner(loop_factory=BoundedEventLoop) as runner:
        runner.run(main())
    assert done == list(range(3000))
    assert max(waiting) <= 1010, "no more than the limit was ever waiting"


def test_the_loop_itself_never_waits() -> None:
    done: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in range(5000):
            loop.call_soon_threadsafe(done.append, number)
        assert done == []
        while len(done) < 5000:
            await asyncio.sleep(0)

    started = time.monotonic()
    with asyncio.Runner(loop_factory=BoundedEventLoop) as runner:
        runner.run(main())
    assert time.monotonic() - started < 240, "half a second each would be forty minutes"


def test_a_loop_that_waits_for_the_thread_gets_on() -> None:
    """The loop's thread stands still until the thread has brought its last."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=lambda: [loop.call_soon_threadsafe(int) for _ in range(1002)])
        thread.start()
        thread.join(30)
        assert not thread.is_alive()

    with asyncio.Runner(loop_factory=BoundedEventLoop) as runner:
        runner.run(main())


@pytest.mark.parametrize("kind", [WakingEventLoop, BoundedEventLoop])
def test_a_busy_loop_is_woken_once_and_runs_all_that_was_submitted(kind: type[WakingEventLoop]) -> None:
    """Each round: a thread submits twenty callbacks while the loop is busy; one octet lies in its socket."""
    done: list[int] = []
    octets: list[int] = []

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        process: Any = loop._process_self_data

        def count(data: bytes) -> None:
            octets.append(len(data))
            process(data)

        loop._process_self_data = count
        for _ in range(50):
            finished = asyncio.Event()

            def submit(finished: asyncio.Event = finished) -> None:
                for number in range(20):
                    loop.call_soon_threadsafe(done.append, number)
                loop.call_soon_threadsafe(finished.set)

            thread = threading.Thread(target=submit)
            thread.start()
            thread.join(30)
            assert not thread.is_alive()
            await finished.wait()

    with asyncio.Runner(loop_factory=kind) as runner:
        runner.run(asyncio.wait_for(main(), 60))
    assert done == [*range(20)] * 50
    assert octets == [1] * 50
