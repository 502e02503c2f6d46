"""What a parent and its workers tell each other, at the level of the channel."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from tsa_core.api import ClockMonitor
from tsa_core.config import Settings
from tsa_core.hosting.workers.fleet import Plan, WorkerFleet
from tsa_core.service import LiveService, Material, Service
from tsa_core.testing import wait_until


class Recorder:
    """In a worker: leaves a file when it is told to prepare."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self, _settings: Settings, **_: Any) -> None:
        (self._folder / f"prepared-{os.getpid()}").touch()

    def commit(self) -> None:
        pass


def no_monitors(_plan: Plan) -> Mapping[str, ClockMonitor] | None:
    return None


def describe(_service: Service) -> Mapping[str, Any]:
    return {"pid": os.getpid()}


def plan(number: int) -> Plan:
    return Plan(number=number, settings=cast("Settings", None), material=cast("Material", None))


def test_a_reload_right_after_the_start_reaches_every_worker(tmp_path: Path) -> None:
    """All workers have said that they are there, and nobody has listened to any of them yet."""
    fleet = WorkerFleet(describe)
    fleet.start(plan(1))
    workers = []
    for _ in range(3):
        worker = os.fork()
        if not worker:
            try:
                fleet.join(cast("LiveService", Recorder(tmp_path)), plan(1), no_monitors)
                (tmp_path / f"joined-{os.getpid()}").touch()
                threading.Event().wait(60)
            finally:
                os._exit(0)
        workers.append(worker)
    try:
        wait_until(lambda: len(list(tmp_path.glob("joined-*"))) == 3, seconds=60, what="three workers have joined")
        assert fleet.prepare(plan(2))["pid"] in workers
        assert {each.name for each in tmp_path.glob("prepared-*")} == {f"prepared-{worker}" for worker in workers}
        fleet.commit(plan(2))
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)
        fleet.close()
