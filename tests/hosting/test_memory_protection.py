"""A server's memory holds keys: no core dump, no debugger of the same user, unless a setting allows them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tsa_core.testing import ServerProcess

pytestmark = [pytest.mark.plugin("memory"), pytest.mark.usefixtures("servers_from_the_beginning")]

CONFIG = '[metrics]\nenabled = false\n[profiles.default]\nsigner = "memory:"\n'
needs_proc = pytest.mark.needs(Path("/proc/self/status").exists(), "reads /proc")


PROGRAM = """
import ctypes, os
from tsa_core.hosting.memory_protection import forbid_memory_dumps
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
prctl = ctypes.CDLL(None).prctl
prctl(4, 1, 0, 0, 0)
def readable():
    process = os.fork()
    if not process:
        try:
            os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY))
        except PermissionError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(process, 0)[1] == 0
before = readable()
forbid_memory_dumps()
print(before, readable(), prctl(3, 0, 0, 0, 0))
"""


def core_limits(pid: int) -> list[str]:
    """The soft and the hard limit."""
    [line] = [line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max core")]
    return line.split()[4:6]


@needs_proc
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_and_its_workers_leave_no_core_dump(tmp_path: Path, workers: str) -> None:
    config = tmp_path / "tsa.toml"
    config.write_text(CONFIG)
    with ServerProcess(config, "--workers", workers) as server:
        for pid in (server.process.pid, *server.workers()):
            assert core_limits(pid) == ["0", "0"]


@needs_proc
def test_a_setting_leaves_core_dumps_as_they_are(tmp_path: Path) -> None:
    own = core_limits(os.getpid())
    config = tmp_path / "tsa.toml"
    config.write_text(CONFIG + "[server]\ncore_dumps = true\n")
    with ServerProcess(config) as server:
        assert core_limits(server.process.pid) == own


@needs_proc
def test_a_process_of_the_same_user_cannot_read_the_memory() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60)
    before, *after = done.stdout.split()
    assert (after, done.stderr) == (["False", "0"], "")
    assert before in {"True", "False"}  # some systems forbid it to everybody
