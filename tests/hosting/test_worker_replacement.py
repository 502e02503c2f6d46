"""Workers that cannot start, or not again: the operator learns why, and the server goes on with what it has."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tsa_backends.server_process import free_port
from tsa_core.api import ConfigError, SignerError
from tsa_core.hosting.workers.pool import WorkerPool
from tsa_core.testing import ServerProcess, encode_request, wait_until

needs_proc = pytest.mark.needs(Path("/proc/self/task").exists(), "finds workers through /proc")
SECONDS = 60.0
SIGNER = """
import os
from pathlib import Path
from cryptography.hazmat.primitives.serialization import Encoding
from tsa_core.api import LocalKeySigner, Provider, SignerError, SignerOptions, hookimpl
from tsa_core.testing import Pki, shared_key

KEY = shared_key()
CHAIN = [certificate.public_bytes(Encoding.DER) for certificate in Pki().chain(KEY.public_key())]

class Options(SignerOptions):
    setting: int = 0

class Counted(LocalKeySigner):
    def certificate_chain(self):
        return CHAIN

def open_it(options):
    folder = Path(options.uri.partition(":")[2])
    if (folder / "away").exists():
        raise SignerError("the backend has no such key any more")
    with (folder / "opened").open("a") as stream:
        print(os.getpid(), file=stream)
    return Counted(KEY)

@hookimpl
def tsa_signers():
    yield Provider(name="counted", summary="Counts how often it is opened", options=Options, open=open_it)
"""


@pytest.fixture
def site(fake_plugin: Callable[..., Path]) -> Path:
    return fake_plugin("counted", SIGNER)


def configure(folder: Path, setting: int = 0) -> Path:
    config = folder / "tsa.toml"
    config.write_text(
        '[server]\nworkers = 3\npid_file = "tsa.pid"\n[metrics]\nenabled = false\n'
        f'[profiles.default]\nsigner = "counted:{folder}"\n[signer.counted]\nsetting = {setting}\n'
    )
    return config


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def opened(folder: Path) -> list[str]:
    return (folder / "opened").read_text().split()


@needs_proc
@pytest.mark.parametrize("engine", ["waitress", "granian"])
def test_a_worker_that_cannot_be_replaced_says_why_until_it_can(engine: str, site: Path, tmp_path: Path) -> None:
    flags = ("--server", engine, "--port", str(free_port()))
    with ServerProcess(configure(tmp_path), *flags, environ={"PYTHONPATH": str(site)}) as server:
        parent = int((tmp_path / "tsa.pid").read_text())
        before = children(parent)
        assert len(before) == 3
        (tmp_path / "away").touch()
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        server.wait_for_log(r"a worker cannot serve: profiles\.default\.signer: the backend has no such key any more")
        assert server.stamp(encode_request()).status == 200
        (tmp_path / "away").unlink()
        wait_until(lambda: len(set(opened(tmp_path))) == 4, seconds=SECONDS, what="a worker has taken its place")


def test_a_reload_opens_a_signer_once_in_each_worker(site: Path, tmp_path: Path) -> None:
    with ServerProcess(configure(tmp_path), environ={"PYTHONPATH": str(site)}) as server:
        workers = opened(tmp_path)
        assert len(set(workers)) == len(workers) == 3
        configure(tmp_path, setting=1)
        os.kill(int((tmp_path / "tsa.pid").read_text()), signal.SIGHUP)
        server.wait_for_log("reloaded: ")
        assert sorted(opened(tmp_path)[3:]) == sorted(workers)


def quiet(_message: Mapping[str, object]) -> None:
    pass


def no_more_processes() -> int:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


@pytest.fixture
def _handlers() -> object:
    """WorkerPool takes the signals of the process that it runs in."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield None
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
def test_fewer_processes_than_workers_is_one_line_and_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    fork = os.fork
    forked: list[int] = []

    def fork_once() -> int:
        if forked:
            no_more_processes()
        forked.append(fork())
        return forked[-1]

    monkeypatch.setattr(os, "fork", fork_once)

    def work(report: Callable[[Mapping[str, object]], None], _slot: int) -> None:
        report({})
        signal.pause()

    pool = WorkerPool(work, count=2)
    with pytest.raises(ConfigError, match=r"server\.workers: only 1 of 2 workers can be started: Resource temporarily"):
        pool.run(quiet, graceful_seconds=5)
    with pytest.raises(ChildProcessError):
        os.waitpid(forked[0], os.WNOHANG)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


@pytest.mark.usefixtures("_handlers")
def test_the_parent_is_never_deaf_while_workers_die_as_soon_as_they_begin(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The pauses between tries grow to ten seconds; meanwhile SIGTERM and reloads are heeded as ever."""
    sleep = time.sleep
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)

    def idle(seconds: float) -> None:
        assert seconds <= 0.2
        if caplog.text.count("ended by itself (status 256)") == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        sleep(0.01)

    def work(report: Callable[[Mapping[str, object]], None], _slot: int) -> None:
        report({})
        raise SignerError("the token is gone")

    WorkerPool(work, count=1, idle=idle).run(quiet, graceful_seconds=5)
    assert max(slept, default=0.0) <= 0.2
