"""granian's requests that wait have pools: no profile takes the threads, or the event loop, of another."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import parser, tsp

from tsa_backends.server_process import free_port
from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.loop_pools import LoopPools
from tsa_core.hosting.granian.wsgi_reply import WsgiReply
from tsa_core.http.thread_pools import QUEUED_SECONDS
from tsa_core.testing import ServerProcess, encode_request, wait_until

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
        deadline = time.monotonic() + 240
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
    """A WSGI application whose requests hold their thread until the test lets them go."""

    def __init__(self) -> None:
        self.inside = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self, environ: dict[str, Any], _start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ[QUEUED_SECONDS] > 0.1:
            return [b"refused"]
        self.inside.release()
        assert self.go.wait(20)
        return [b"done"]


class Asked:
    """Requests to the pools of a server with 2 threads for each."""

    def __init__(self, *, queue_limit: int, queue_timeout: str) -> None:
        self.app = App()
        self.pools = LoopPools(
            ServerSettings.model_validate({"threads": 2, "queue_limit": queue_limit, "queue_timeout": queue_timeout})
        )

    def ask(self, pool: str) -> asyncio.Task[WsgiReply]:
        environ = {"wsgi.input": io.BytesIO(), "REQUEST_METHOD": "POST", "PATH_INFO": "/"}
        return asyncio.create_task(self.pools.run(pool, self.app, environ))

    async def hold(self, pool: str) -> list[asyncio.Task[WsgiReply]]:
        """Let two requests hold the threads of a pool."""
        tasks = [self.ask(pool) for _ in range(2)]
        for _ in tasks:
            assert await asyncio.to_thread(self.app.inside.acquire, timeout=20)
        return tasks


def test_a_pool_bounds_its_own_requests_and_no_others() -> None:
    async def main() -> None:
        asked = Asked(queue_limit=1, queue_timeout="60s")
        held = await asked.hold("slow")
        queued, one_too_many = asked.ask("slow"), asked.ask("slow")
        assert (await one_too_many).body == b"refused"
        others = await asked.hold("other")
        assert not queued.done()
        asked.app.go.set()
        assert [(await task).body for task in (*held, *others)] == [b"done"] * 4
        await queued
        asked.pools.shutdown()

    asyncio.run(main())


def test_what_waits_for_too_long_is_refused_while_all_threads_hang() -> None:
    async def main() -> None:
        asked = Asked(queue_limit=1, queue_timeout="150ms")
        held = await asked.hold("slow")
        assert (await asked.ask("slow")).body == b"refused"
        assert not any(task.done() for task in held)
        asked.app.go.set()
        await asyncio.gather(*held)
        asked.pools.shutdown()

    asyncio.run(main())


def status(reply: bytes) -> str:
    native: str = tsp.PKIStatusInfo.load(parser.parse(reply)[4], strict=False)["status"].native
    return native


@pytest.mark.plugin("memory")
def test_granian_answers_for_one_profile_while_another_hangs(fake_plugin: Callable[..., Path], tmp_path: Path) -> None:
    flag = tmp_path / "hang"
    config = tmp_path / "tsa.toml"
    config.write_text(
        '[server]\nengine = "granian"\nthreads = 2\nqueue_limit = 2\nqueue_timeout = "5m"\n'
        '[profiles.default]\nsigner = "memory:"\n'
        f'[profiles.slow]\nsigner = "hang:{flag}"\nsigner_timeout = "5m"\n'
    )
    site = fake_plugin("hang", SIGNER)
    with (
        ServerProcess(config, "--port", str(free_port()), environ={"PYTHONPATH": str(site)}) as server,
        ThreadPoolExecutor(30) as pool,
    ):
        flag.touch()
        try:
            hung = [pool.submit(server.stamp, encode_request(), path="/tsa/slow") for _ in range(30)]
            # 2 sign, 2 wait for their turn
            wait_until(lambda: sum(future.done() for future in hung) >= 26, seconds=60, what="26 are refused")
            for _ in range(20):
                assert status(server.stamp(encode_request()).body) == "granted"
        finally:
            flag.unlink()
        states = [status(future.result(60).body) for future in hung]
    assert sorted(states) == ["granted"] * 4 + ["rejection"] * 26
