"""A clock that is set while nothing watches it: real servers, whose wall clock alone is moved by libfaketime."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.rotation import TsaDirectory
from tests.wall_clock import WallClock
from tsa_core.testing import ServerProcess, encode_request, wait_until

pytestmark = [
    pytest.mark.plugin("file"),
    pytest.mark.needs(Path("/proc/self/task").exists(), "finds workers through /proc"),
]

REQUEST = encode_request(b"a document")
TIME_NOT_AVAILABLE = bytes.fromhex("0303010002")


@contextmanager
def serving(tsa: TsaDirectory, wall: WallClock, *flags: str) -> Iterator[ServerProcess]:
    with ServerProcess(tsa.config, *flags, environ=wall.environ) as server:
        try:
            yield server
        finally:
            # libfaketime lets clock_nanosleep fail while the wall clock is moved; a stop that sleeps would crash.
            wall.set_by(0)


def all_grant(server: ServerProcess) -> bool:
    return all(b"\x02\x01\x00" in server.stamp(REQUEST).body[:12] for _ in range(20))


def none_grants(server: ServerProcess) -> bool:
    return all(TIME_NOT_AVAILABLE in server.stamp(REQUEST).body for _ in range(20))


def clock_check(server: ServerProcess) -> dict[str, Any]:
    checks = json.loads(server.get("/readyz").body)["checks"]
    return next(check for check in checks if check["name"] == "clock")


def test_a_step_of_an_hour_is_refused_at_once_and_its_end_heals(tmp_path: Path) -> None:
    wall, tsa = WallClock(tmp_path), TsaDirectory(tmp_path)
    with serving(tsa, wall) as server:
        assert "The clock is unmonitored" in server.log
        assert clock_check(server)["reason"].startswith("unmonitored; no monitor compares the clock with others")
        assert all_grant(server)
        wall.set_by(3600)
        assert none_grants(server)
        reply = server.get("/readyz")
        assert reply.status == 503
        assert "stepped; the clock was set" in clock_check(server)["reason"]
        server.wait_for_log("clock state=stepped previous=unmonitored issuing=false")
        wall.set_by(0)
        assert all_grant(server)
        assert server.get("/readyz").status == 200


def test_warn_issues_with_the_step_in_the_log(tmp_path: Path) -> None:
    wall, tsa = WallClock(tmp_path), TsaDirectory(tmp_path, tables='[clock]\nunmonitored_step = "warn"\n')
    with serving(tsa, wall) as server:
        wall.set_by(3600)
        assert all_grant(server)
        server.wait_for_log("clock state=stepped previous=unmonitored issuing=true")
        assert 'unmonitored_step = "warn"' in clock_check(server)["reason"]


_MOVED_IN_PYTHON = """
import sys
from datetime import datetime, timedelta
from pathlib import Path
import tsa_core.authority.clock_reference as reference, tsa_core.builtin.clock as builtin

class Moved(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(seconds=int(Path(sys.argv[1]).read_text().strip()[:-1]))

reference.datetime = builtin.datetime = Moved
from tsa_core.cli.server_group import server
server(sys.argv[2:])
"""


def test_a_replaced_worker_knows_of_the_step_before_it(tmp_path: Path) -> None:
    """Without libfaketime, under which the parent of workers cannot sleep."""
    wall, tsa = WallClock(tmp_path), TsaDirectory(tmp_path)
    process = ServerProcess(tsa.config, "--workers", "2")
    process.command[1:3] = ["-c", _MOVED_IN_PYTHON, str(wall.file)]
    with process as server:
        assert all_grant(server)
        wall.set_by(3600)
        assert none_grants(server)
        before = server.workers()
        os.kill(min(before), signal.SIGKILL)
        wait_until(
            lambda: len(now := server.workers()) == len(before) and now != before,
            seconds=60,
            what="the worker is replaced",
        )
        assert none_grants(server)
        wall.set_by(0)
        assert all_grant(server)
