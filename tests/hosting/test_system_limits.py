"""A system that gives no thread at a start: one line in words, and an exit code that says that it may pass."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tsa_backends.commands import run_command
from tsa_backends.server_process import free_port
from tsa_core.api import UnavailableError
from tsa_core.hosting.ending import Ending
from tsa_core.hosting.system_limits import limits_in_words

EXIT_TEMPORARY = 75
SINK = """
import os, threading
from pathlib import Path
from tsa_core.api import *

class Options(PluginOptions):
    threads: int

class Sink(AuditSink):
    def __init__(self, left):
        self.left = left

    def write(self, record):
        pass

    def bind(self, profiles, timeout):
        start = threading.Thread.start

        def refuse(thread):
            if not self.left:
                raise RuntimeError("can't start new thread")
            self.left -= 1
            start(thread)

        threading.Thread.start = refuse

@hookimpl
def tsa_audit_sinks():
    yield Provider(name="scarce", summary="", options=Options, open=lambda options: Sink(options.threads))
"""


@pytest.mark.plugin("memory")
@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("flags", [(), ("--workers", "2"), ("--server", "granian")], ids=" ".join)
def test_no_thread_is_a_line_in_words(
    flags: tuple[str, ...], threads: int, fake_plugin: Callable[..., Path], tmp_path: Path
) -> None:
    site = fake_plugin("scarce", SINK)
    config = tmp_path / "tsa.toml"
    config.write_text(
        '[metrics]\nenabled = false\n[profiles.default]\nsigner = "memory:"\n'
        f'[audit]\nsinks = ["scarce"]\n[audit.scarce]\nthreads = {threads}\n'
    )
    port = ("--host", "127.0.0.1", "--port", str(free_port()))
    result = run_command("serve", "--config", config, *port, *flags, environ={"PYTHONPATH": str(site)})
    assert result.returncode == EXIT_TEMPORARY, result.stderr
    assert "Traceback" not in result.stderr
    assert "timestamp-server: error: the system refuses a thread" in result.stderr.splitlines()[-1]


@pytest.mark.plugin("memory")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_working_directory_that_has_been_removed_is_a_line_in_words(workers: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    start = "import os, runpy; os.rmdir(os.getcwd()); runpy.run_module('tsa_core.cli.server', run_name='__main__')"
    flags = ("serve", "--server", "granian", "--workers", workers, "--port", str(free_port()))
    command = [sys.executable, "-P", "-c", start, *flags]
    result = subprocess.run(command, cwd=gone, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "error: the working directory has been removed" in result.stderr.splitlines()[-1]


def test_no_memory_is_said_in_words() -> None:
    with pytest.raises(UnavailableError, match="the memory does not suffice"), limits_in_words():
        raise MemoryError


def test_another_failure_is_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="a bug"), limits_in_words():
        raise RuntimeError("a bug")


def test_a_server_can_be_told_to_stop_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler of the signal would else fail before it stops anything, and a worker outlived its parent."""

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refuse)
    ending = Ending(timedelta(seconds=5), slack=1.0, exit_code=lambda _: 0, last_words=lambda _: None)
    ending.begin()
    assert 0.0 < ending.seconds_left() <= 6.0
