"""What a parent and its workers tell each other, at the level of the channel."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Mapping
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any, cast

import pytest

from tsa_core.api import ClockMonitor, ConfigError
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


def test_while_a_reload_waits_for_a_worker_the_parent_looks_after_all_and_can_be_stopped() -> None:
    """The worker never answers; whoever looks at the workers meanwhile stops the server at the third look."""
    fleet = WorkerFleet(describe)
    fleet.start(plan(1))
    mine, parents = Pipe()
    hello = (1).to_bytes(8, "big") + os.getpid().to_bytes(8, "big")
    socket.send_fds(fleet._worker_end, [hello], [parents.fileno()])
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            fleet.give_up()

    fleet.meanwhile = look
    with pytest.raises(ConfigError, match="the server ends"):
        fleet.prepare(plan(2))
    assert len(looks) == 3
    for each in (mine, parents):
        each.close()
    fleet.close()
