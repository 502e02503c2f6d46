"""CPU affinity: each granian worker is pinned to one CPU, and nothing else is."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.cpu_affinity import pin_to_one_cpu
from tsa_core.testing import ServerProcess, wait_until

pytestmark = pytest.mark.needs(hasattr(os, "sched_setaffinity"), "this system binds no threads")

DEADLINE_SECONDS = 60.0


def taken(settings: ServerSettings, slot: int) -> tuple[set[int], int]:
    """Return the CPUs and the policy of a thread that has asked for one."""
    found: list[tuple[set[int], int]] = []

    def run() -> None:
        pin_to_one_cpu(settings, slot)
        found.append((os.sched_getaffinity(0), os.sched_getscheduler(0)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_each_slot_gets_a_cpu_of_its_own() -> None:
    usable = os.sched_getaffinity(0)
    found = [taken(ServerSettings(), slot) for slot in range(2 * len(usable))]
    assert {policy for _, policy in found} == {os.SCHED_BATCH}
    cpus = [cpu for each, _ in found for cpu in each]
    assert set(cpus[: len(usable)]) == usable
    assert cpus[: len(usable)] == cpus[len(usable) :]


@pytest.mark.parametrize(
    "settings",
    [
        ServerSettings(pin_workers=False),
        pytest.param(
            ServerSettings(workers=256),
            marks=pytest.mark.needs((os.cpu_count() or 1) < 256, "has CPUs for all the workers that there may be"),
        ),
    ],
)
def test_left_to_the_system_when_switched_off_or_when_there_are_too_few(settings: ServerSettings) -> None:
    assert taken(settings, 0) == (os.sched_getaffinity(0), os.SCHED_OTHER)


def workers_of(process: int) -> dict[int, set[int]]:
    """Return the CPUs that the threads of each worker may use that answer requests: not those of its main thread."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    return {int(child): pinned(int(child)) for child in children}


def pinned(process: int) -> set[int]:
    """Return the CPUs of the threads of a process that may not use all of them; it and they may end meanwhile."""
    found = set()
    with suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            with suppress(OSError):
                cpus = os.sched_getaffinity(int(thread.name))
                found |= cpus if cpus != os.sched_getaffinity(0) else set()
    return found


def settled(parent: int, count: int, *, without: int | None = None) -> dict[int, set[int]]:
    """Return the `count` workers, none of them `without`, once each is pinned to one CPU, and no two to the same."""
    found: dict[int, set[int]] = {}

    def look() -> bool:
        nonlocal found
        found = workers_of(parent)
        each = list(found.values())
        return without not in found and len(each) == len(set().union(*each)) == sum(map(len, each)) == count

    wait_until(look, seconds=DEADLINE_SECONDS, what="the workers are pinned")
    return found


@pytest.mark.needs((os.cpu_count() or 1) > 1, "has two CPUs")
@pytest.mark.plugin("memory")
def test_granian_workers_have_one_each_and_who_replaces_one_gets_its_own() -> None:
    count = 2
    with ServerProcess(None, "--port", "0", "--server", "granian", "--workers", str(count)) as server:
        before = settled(server.process.pid, count)
        victim = next(iter(before))
        os.kill(victim, signal.SIGKILL)
        after = settled(server.process.pid, count, without=victim)
    assert sorted(map(min, before.values())) == sorted(map(min, after.values()))


@pytest.mark.plugin("memory")
def test_waitress_is_left_to_the_system() -> None:
    with ServerProcess(None, "--port", "0") as server:
        assert os.sched_getaffinity(server.process.pid) == os.sched_getaffinity(0)
