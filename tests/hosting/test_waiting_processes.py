"""Real processes: while something hangs, everything else is answered, and SIGTERM ends them in time.

What hangs waits in the kernel: a signer and a disk that do not answer (a FIFO without a writer stands for both), a
lock of the audit file that a foreign process holds. Nothing here looks at a clock: what is answered while the other
thing still hangs was not waiting for it.
"""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.conformance.replies import granted, refused
from tests.rotation import FLAGS
from tests.stuck import SOURCE, Stuck
from tsa_core.testing import HttpReply, ServerProcess, encode_request, ends_within, wait_until

pytestmark = pytest.mark.plugin("memory", "auditfile")

GRACEFUL_SECONDS = 0.5
SYSTEM_FAILURE = "03050600000040"
BAD_DATA_FORMAT = "03020204"
CONFIG = f"""
[server]
graceful_timeout = "{GRACEFUL_SECONDS}s"
[profiles.default]
signer = "memory:"
[profiles.remote]
signer = "stuck:remote"
signer_timeout = "60s"
[audit]
sinks = ["stuck", "auditfile"]
sink_timeout = "60s"
[audit.auditfile]
path = "audit.jsonl"
[observe]
observers = ["stuck"]
[metrics]
enabled = false
"""
ANSWERED = "stopped: every request that had arrived was answered"
CUT_OFF = "stopped: requests were cut off; see the lines above"
PLUGIN = r"the plugin stuck \(tsa-signer-stuck 1\.0\)"


class Hanging:
    """A server with the plugin `stuck`."""

    def __init__(self, folder: Path, install: Callable[..., Path], engine: str) -> None:
        self.stuck = Stuck(folder / "stuck")
        self.trail = folder / "audit.jsonl"
        config = folder / "tsa.toml"
        config.write_text(CONFIG)
        environ = {**self.stuck.environ, "PYTHONPATH": str(install("stuck", SOURCE))}
        self.server = ServerProcess(config, *FLAGS[engine], environ=environ)

    def stamp(self, path: str = "/api/v1/timestamp") -> HttpReply:
        return self.server.stamp(encode_request(), path=path)

    def others_are_answered(self) -> None:
        """Ask what must not wait; on connections of their own, after which the loop has read all that came before."""
        for _ in range(5):
            for path in ("/ping", "/healthz"):
                assert self.server.get(path).status == 200


@pytest.fixture(scope="module", params=["waitress", "granian"])
def hanging(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    fake_plugin_in: Callable[[Path], Callable[..., Path]],
) -> Iterator[Hanging]:
    folder = tmp_path_factory.mktemp("hanging")
    made = Hanging(folder, fake_plugin_in(folder), request.param)
    with made.server:
        yield made
        made.stuck.release()


@pytest.fixture
def ask() -> Iterator[Callable[..., Future[HttpReply]]]:
    with ThreadPoolExecutor(4) as pool:
        yield pool.submit


def test_a_disk_that_does_not_answer(hanging: Hanging, ask: Callable[..., Future[HttpReply]]) -> None:
    hanging.stuck.stick("disk")
    waiting = ask(hanging.stamp)
    wait_until(lambda: hanging.stuck.reached("disk"), seconds=60, what="the disk hangs")
    hanging.others_are_answered()
    assert not waiting.done()
    hanging.stuck.release()
    granted(waiting.result(60).body)


def test_a_lock_of_the_audit_file_that_a_foreign_process_holds(
    hanging: Hanging, ask: Callable[..., Future[HttpReply]]
) -> None:
    granted(hanging.stamp().body)
    with hanging.trail.open("rb") as trail:
        fcntl.flock(trail, fcntl.LOCK_EX)
        waiting = ask(hanging.stamp)
        hanging.others_are_answered()
        assert not waiting.done()
        fcntl.flock(trail, fcntl.LOCK_UN)
    granted(waiting.result(60).body)


def test_a_signer_that_ignores_its_time_limit_stops_no_other_profile(
    hanging: Hanging, ask: Callable[..., Future[HttpReply]]
) -> None:
    hanging.stuck.stick("remote")
    waiting = ask(hanging.stamp, "/tsa/remote")
    wait_until(lambda: hanging.stuck.reached("remote"), seconds=60, what="the signer hangs")
    hanging.others_are_answered()
    for _ in range(3):
        granted(hanging.stamp().body)
    assert not waiting.done()
    hanging.stuck.release()
    granted(waiting.result(60).body)


def test_sys_exit_in_a_plugin_ends_its_request_alone(hanging: Hanging) -> None:
    exits = hanging.stuck.folder / "exit"
    exits.touch()
    refused(hanging.stamp("/tsa/remote").body, SYSTEM_FAILURE)
    exits.unlink()
    granted(hanging.stamp("/tsa/remote").body)
    hanging.others_are_answered()
    hanging.server.wait_for_log("tsa-signer-stuck")


def test_a_plugin_that_does_not_close_is_named_and_the_last_line_is_true(
    tmp_path: Path, fake_plugin_in: Callable[[Path], Callable[..., Path]]
) -> None:
    hanging = Hanging(tmp_path, fake_plugin_in(tmp_path), "waitress")
    with hanging.server as server:
        granted(hanging.stamp().body)
        hanging.stuck.stick("close")
        server.process.send_signal(signal.SIGTERM)
        with ends_within(GRACEFUL_SECONDS + 2):
            assert server.process.wait() == 0
    server.wait_for_log(f"{PLUGIN} has not returned from Signer.close")
    assert ANSWERED in server.log
    assert CUT_OFF not in server.log


@pytest.mark.parametrize("engine", ["waitress", "granian", "waitress-2", "granian-2"])
def test_sigterm_ends_the_server_while_everything_hangs(
    engine: str,
    tmp_path: Path,
    fake_plugin_in: Callable[[Path], Callable[..., Path]],
    ask: Callable[..., Future[HttpReply]],
) -> None:
    functions = ("tsa_signers", "Signer.sign", "Disk.write_all", "Watcher.observe")
    lines = [f"{PLUGIN} has not returned from {function}" for function in functions]
    for attempt in ("first", "second", "third"):
        folder = tmp_path / attempt
        folder.mkdir()
        server = end_while_everything_hangs(Hanging(folder, fake_plugin_in(folder), engine), ask)
        # A worker that was given no CPU for half a second is killed by its parent, which says so: it can say nothing.
        if "did not end in time and is killed" not in server.log:
            break
    for line in lines:
        server.wait_for_log(line)
    assert CUT_OFF in server.log
    assert ANSWERED not in server.log


def end_while_everything_hangs(hanging: Hanging, ask: Callable[..., Future[HttpReply]]) -> ServerProcess:
    stuck = hanging.stuck
    with ExitStack() as stack, hanging.server as server:
        granted(hanging.stamp().body)
        stack.callback(stuck.release)
        stuck.stick("observe", "remote", "disk", "open", "close", "flush")
        # The observer may have been told of the timestamp before: this refusal is sure to come after.
        refused(hanging.server.stamp(b"0").body, BAD_DATA_FORMAT)
        waiting = [ask(hanging.stamp, "/tsa/remote"), ask(hanging.stamp)]
        server.process.send_signal(signal.SIGHUP)
        for call in ("observe", "remote", "disk", "open"):
            wait_until(partial(stuck.reached, call), seconds=60, what=f"{call} hangs")
        server.process.send_signal(signal.SIGTERM)
        with ends_within(GRACEFUL_SECONDS + 2):
            assert server.process.wait() == 0
        assert all(future.exception(60) for future in waiting)
    return server
