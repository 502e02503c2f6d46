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


def test_slots_get_processors_of_their_own() -> None:
    usable = os.sched_getaffinity(0)
    found = [taken(ServerSettings(), slot) for slot in range(2 * len(usable))]
    assert {policy for _, policy in found} == {os.SCHED_BATCH}
    processors = [processor for each, _ in found for processor in each]
    assert set(processors[: len(usable)]) == usable
    assert processors[: len(usable)] == processors[len(usable) :]


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
    count = min(2, len(os.sched_getaffinity(0)))

    def settled(process: int, without: int | None = None) -> dict[int, set[int]]:
        """Wait until all workers keep to one processor, and to different ones."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            workers = workers_of(process)
            used = set().union(*workers.values())
            if (
                without not in workers
                and len(workers) == len(used) == count
                and all(len(each) == 1 for each in workers.values())
            ):
                return workers
            assert time.monotonic() < deadline, workers
            time.sleep(0.05)

    with spawned_server("--server", "granian", "--workers", str(count)) as (_, process):
        before = settled(process.pid)
        victim = next(iter(before))
        os.kill(victim, signal.SIGKILL)
        after = settled(process.pid, without=victim)
    assert sorted(map(min, before.values())) == sorted(map(min, after.values()))


@pytest.mark.plugin("memory")
def test_waitress_is_left_to_the_system() -> None:
    with spawned_server() as (_, process):
        assert os.sched_getaffinity(process.pid) == os.sched_getaffinity(0)
