"""A moved wall clock moves the time of day, and nothing that waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.wall_clock import WallClock

pytestmark = pytest.mark.needs(sys.platform == "linux", "counts the CPU time of a thread")

_WAIT_FOR_A_CALCULATION = """
import json, resource, threading, time

def used():
    mine = resource.getrusage(resource.RUSAGE_THREAD)
    return mine.ru_utime + mine.ru_stime

def wait():
    ready.set()
    go.wait()
    figures["waiting"] = used()

figures, ready, go = {"time": time.time()}, threading.Event(), threading.Event()
waits = threading.Thread(target=wait)
waits.start()
ready.wait()
go.set()
began = used()
pow(3, 2**16_000, 2**2200 - 1)  # one call, during which nobody else gets the interpreter's lock
figures["calculating"] = used() - began
waits.join()
print(json.dumps(figures))
"""


def test_a_thread_that_waits_for_the_interpreters_lock_uses_no_cpu(tmp_path: Path) -> None:
    wall = WallClock(tmp_path)
    wall.set_by(3600)
    before = time.time()
    done = subprocess.run(
        [sys.executable, "-c", _WAIT_FOR_A_CALCULATION],
        env={**os.environ, **wall.environ},
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(done.stdout)
    assert figures["time"] > before + 3000
    assert figures["waiting"] < figures["calculating"] / 4
