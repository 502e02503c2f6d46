"""A server's memory holds keys: no core dump, no debugger of the same user, unless a setting allows them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tsa_core.config import load_settings
from tsa_core.service.clock_process import settings_of_clocks
from tsa_core.testing import ServerProcess

pytestmark = [pytest.mark.plugin("memory"), pytest.mark.usefixtures("servers_from_the_beginning")]

CONFIG = '[metrics]\nenabled = false\n[profiles.default]\nsigner = "memory:"\n'
needs_proc = pytest.mark.needs(Path("/proc/self/status").exists(), "reads /proc")


PROGRAM = """
import ctypes, os
from tsa_core.service.memory_protection import forbid_memory_dumps
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

CLOCK_PROGRAM = """
import ctypes, os, sys
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from tsa_core.config import load_settings
from tsa_core.service import clock_process
from tsa_core.service.clock_relay import ClockRelay
prctl = ctypes.CDLL(None).prctl
prctl(4, 1, 0, 0, 0)
relay = ClockRelay()
mine, childs = Pipe()
process = os.fork()
if not process:
    mine.close()
    code = clock_process.main([str(childs.fileno()), str(relay.descriptor), *sys.argv[2:]])
    os._exit(10 * code + prctl(3, 0, 0, 0, 0))
childs.close()
settings = load_settings(Path(sys.argv[1]), environ={})
mine.send((clock_process.settings_of_clocks(settings), 0, 30, {}))
while mine.recv()[0] != "opened":
    pass
mine.close()
print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""
SECRET = "a9-secret-of-a-signer"
CLOCK_CONFIG = f"""
[server]
workers = 2
[metrics]
enabled = false
[clock]
monitors = ["ntp"]
on_failure = "warn"
[clock.ntp]
servers = ["127.0.0.1:9"]
num_servers = 1
server_threshold = 1
[audit]
sinks = ["auditfile"]
anchor_urls = ["https://tsa.example/{SECRET}"]
anchor_roots = "roots.pem"
[audit.auditfile]
path = "{SECRET}"
[profiles.default]
signer = "memory:{SECRET}"
signer_options = {{ password = "{SECRET}" }}
[signer.memory]
pin = "{SECRET}"
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


@needs_proc
@pytest.mark.plugin("ntp")
@pytest.mark.parametrize(("arguments", "dumpable"), [([], "0"), (["dumpable"], "1")])
def test_the_process_of_the_clock_is_protected_as_well(arguments: list[str], dumpable: str, tmp_path: Path) -> None:
    config = tmp_path / "tsa.toml"
    config.write_text(CLOCK_CONFIG)
    command = [sys.executable, "-c", CLOCK_PROGRAM, str(config), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.split(), done.stderr) == ([dumpable], "")


def test_the_process_of_the_clock_is_told_of_no_key(tmp_path: Path) -> None:
    config = tmp_path / "tsa.toml"
    config.write_text(CLOCK_CONFIG)
    settings = load_settings(config, environ={})
    assert SECRET.encode() in pickle.dumps(settings)
    told = settings_of_clocks(settings)
    assert SECRET.encode() not in pickle.dumps(told)
    assert (told.clock, told.base_directory) == (settings.clock, settings.base_directory)
