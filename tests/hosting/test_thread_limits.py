"""granian queues requests itself: no profile may take all of its threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import parser, tsp

from tsa_backends.server_process import free_port
from tsa_core.api import RequestRejected
from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.thread_limits import ThreadLimits, threads_needed
from tsa_core.http.thread_pools import ENTER
from tsa_core.testing import ServerProcess, encode_request

SIGNER = """
import threading, time
from pathlib import Path
from cryptography.hazmat.primitives.serialization import Encoding
from tsa_core.api import LocalKeySigner, Provider, SignerOptions, hookimpl

class Waiting(LocalKeySigner):
    def __init__(self, flag):
        from tsa_core.testing import Pki, new_key
        super().__init__(new_key())
        self.latency = "remote"
        self._flag = Path(flag)
        self._chain = [certificate.public_bytes(Encoding.DER) for certificate in Pki().chain(self.public_key)]

    def certificate_chain(self):
        return self._chain

    def sign(self, message, *, timeout):
        deadline = time.monotonic() + 20
        while self._flag.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return super().sign(message, timeout=timeout)

@hookimpl
def tsa_signers():
    yield Provider(
        name="hang",
        summary="Hangs while a file exists",
        options=SignerOptions,
        open=lambda options: Waiting(options.uri.partition(":")[2]),
    )
"""


class App:
    """A WSGI application whose requests enter a thread limit and hold their place until the test lets them go."""

    def __init__(self) -> None:
        self.inside = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self, environ: dict[str, Any], _start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            environ[ENTER](environ["profile"])
        except RequestRejected as rejection:
            return [rejection.text.encode()]
        self.inside.release()
        assert self.go.wait(20)
        return [b"done"]


def ask(limits: ThreadLimits, profile: str) -> bytes:
    return b"".join(limits({"profile": profile}, lambda *_: None))


def test_a_limit_bounds_its_profile_and_no_other() -> None:
    app = App()
    limits = ThreadLimits(app, ServerSettings(threads=2, queue_timeout="60s"))
    with ThreadPoolExecutor(20) as pool:
        first = [pool.submit(ask, limits, "slow") for _ in range(2)]
        for _ in first:
            assert app.inside.acquire(timeout=10)
        waiting = [pool.submit(ask, limits, "slow") for _ in range(4)]
        deadline = time.monotonic() + 10
        while sum(future.done() for future in waiting) < 2:  # two wait for their turn, two are one too many
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not app.inside.acquire(timeout=0.1)
        other = pool.submit(ask, limits, "other")
        assert app.inside.acquire(timeout=10)
        app.go.set()
        assert other.result(10) == b"done"
        assert [future.result(10) for future in first] == [b"done"] * 2
        answers = sorted(future.result(10) for future in waiting)
    assert answers == [b"done"] * 2 + [b"too many requests are waiting; try again later"] * 2


def test_a_turn_that_does_not_come_in_time_is_refused() -> None:
    app = App()
    limits = ThreadLimits(app, ServerSettings(threads=1, queue_timeout="100ms"))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, limits, "slow")
        assert app.inside.acquire(timeout=10)
        assert pool.submit(ask, limits, "slow").result(10) == b"too many requests are waiting; try again later"
        app.go.set()
        assert first.result(10) == b"done"
    assert ask(limits, "slow") == b"done"


def test_threads_suffice_for_all_profiles_and_others() -> None:
    settings = ServerSettings(threads=8)
    assert threads_needed(settings, 0) == 1
    assert threads_needed(settings, 2) > 2 * 2 * 8


def status(reply: bytes) -> str:
    native: str = tsp.PKIStatusInfo.load(parser.parse(reply)[4], strict=False)["status"].native
    return native


@pytest.mark.plugin("memory")
def test_granian_answers_for_one_profile_while_another_hangs(fake_plugin: Callable[..., Path], tmp_path: Path) -> None:
    flag = tmp_path / "hang"
    config = tmp_path / "tsa.toml"
    config.write_text(
        '[server]\nengine = "granian"\nthreads = 2\nqueue_timeout = "60s"\n[profiles.default]\nsigner = "memory:"\n'
        f'[profiles.slow]\nsigner = "hang:{flag}"\n'
    )
    site = fake_plugin("hang", SIGNER)
    with (
        ServerProcess(config, "--port", str(free_port()), environ={"PYTHONPATH": str(site)}) as server,
        ThreadPoolExecutor(30) as pool,
    ):
        flag.touch()
        try:
            hung = [pool.submit(server.stamp, encode_request(), path="/tsa/slow") for _ in range(30)]
            deadline = time.monotonic() + 10
            while sum(future.done() for future in hung) < 26:  # 2 sign, 2 wait for their turn
                assert time.monotonic() < deadline
                time.sleep(0.02)
            for _ in range(20):
                assert status(server.stamp(encode_request()).body) == "granted"
        finally:
            flag.unlink()
        states = [status(future.result(20).body) for future in hung]
    assert sorted(states) == ["granted"] * 4 + ["rejection"] * 26
