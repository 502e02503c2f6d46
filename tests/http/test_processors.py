"""Workers of granian's keep to a processor each; nothing else does."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.serving import spawned_server
from tsa_core.config import ServerSettings
from tsa_core.http.processors import keep_to_one_processor

pytestmark = pytest.mark.needs(hasattr(os, "sched_setaffinity"), "this system binds no threads")

DEADLINE_SECONDS = 60.0
needs_granian = pytest.mark.package("granian")


def taken(settings: ServerSettings, slot: int) -> tuple[set[int], int]:
    """Return the processors and the policy of a thread that has asked for one."""
    found: list[tuple[set[int], int]] = []

    def run() -> None:
        keep_to_one_processor(settings, slot)
        found.append((os.sched_getaffinity(0), os.sched_getscheduler(0)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_slots_get_processors_of_their_own_the_last_ones_first() -> None:
    usable = sorted(os.sched_getaffinity(0), reverse=True)
    for slot in range(2 * len(usable)):
        assert taken(ServerSettings(), slot) == ({usable[slot % len(usable)]}, os.SCHED_BATCH)


@pytest.mark.parametrize(
    "settings",
    [
        ServerSettings(pin_workers=False),
        pytest.param(
            ServerSettings(workers=256),
            marks=pytest.mark.needs(
                (os.cpu_count() or 1) < 256, "has processors for all the workers that there may be"
            ),
        ),
    ],
)
def test_left_to_the_system_when_switched_off_or_when_there_are_too_few(settings: ServerSettings) -> None:
    assert taken(settings, 0) == (os.sched_getaffinity(0), os.SCHED_OTHER)


def workers_of(process: int) -> dict[int, set[int]]:
    """Return the processors that each worker's main thread may use."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    return {int(child): os.sched_getaffinity(int(child)) for child in children}


@needs_granian
@pytest.mark.plugin("memory")
def test_granian_workers_have_one_each_and_who_replaces_one_gets_its_own() -> None:
    usable = sorted(os.sched_getaffinity(0), reverse=True)
    count = min(2, len(usable))
    expected = [{processor} for processor in usable[:count]]

    def settled(process: int, without: int | None = None) -> dict[int, set[int]]:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            workers = workers_of(process)
            if without not in workers and sorted(workers.values(), key=max, reverse=True) == expected:
                return workers
            assert time.monotonic() < deadline, workers
            time.sleep(0.05)

    with spawned_server("--server", "granian", "--workers", str(count)) as (_, process):
        victim = next(iter(settled(process.pid)))
        os.kill(victim, signal.SIGKILL)
        settled(process.pid, without=victim)


@pytest.mark.plugin("memory")
def test_waitress_is_left_to_the_system() -> None:
    with spawned_server() as (_, process):
        assert os.sched_getaffinity(process.pid) == os.sched_getaffinity(0)
