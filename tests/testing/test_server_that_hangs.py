"""A server that does not start: the test ends, and says where it hangs; one that gets no CPU is waited for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tsa_core.testing import ServerProcess, server

HANGS = """
import signal, sys
def stands_still():
    signal.pause()
print("started", file=sys.stderr, flush=True)
stands_still()
"""
LATE = "import sys, time; time.sleep(0.5); print('listening on ', file=sys.stderr, flush=True); time.sleep(60)"

STARVED = """
import os, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
child = os.fork()
ends = time.process_time() + 0.05
while time.process_time() < ends:  # both at once, on one CPU
    pass
if child:
    os.waitpid(child, 0)
    print("listening on ", file=sys.stderr, flush=True)
    time.sleep(60)
"""


def stand_in(program: str) -> ServerProcess:
    found = ServerProcess(None)
    found.command = [sys.executable, "-c", program]
    return found


def test_the_failure_shows_where_it_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = stand_in(HANGS)
    monkeypatch.setattr(server, "_SECONDS", 1.0)
    with pytest.raises(AssertionError, match=r"(?s)not within 1 s; so far it said:.*started.*in stands_still"), hanging:
        raise RuntimeError("it has not started")
    assert hanging.process.poll() is not None


def test_time_without_a_cpu_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    late = stand_in(LATE)
    monkeypatch.setattr(server, "_SECONDS", 0.1)
    monkeypatch.setattr(ServerProcess, "_starved_seconds", lambda _self: 3600.0)
    late._expected_code = -15
    with late:
        monkeypatch.undo()
        assert late.log == "listening on \n"


@pytest.mark.needs(Path("/proc/self/schedstat").exists(), "reads how long threads waited for a CPU")
def test_the_kernel_tells_how_long_that_is() -> None:
    with pytest.raises(AssertionError, match="it was told to stop"), stand_in(STARVED) as starved:
        assert 0 < starved._starved_seconds() < 3600
