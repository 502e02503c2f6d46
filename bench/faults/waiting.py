"""Faults that wait: disks, locks, signers and readers of the log that do not answer, and plugins that end the process.

What does not answer waits in the kernel: a FIFO without a writer stands for a disk, and for a signer's backend.
"""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from math import ceil
from statistics import median
from time import monotonic

from bench.faults.fault import Seen, fault
from bench.faults.hostile_http import ENGINES, joined
from bench.faults.scene import SECONDS, Asked, Scene, WatchedServer, took
from bench.faults.trail import AUDITED
from tests.hosting.test_log_pipe_nobody_reads import unread_server
from tests.stuck import SOURCE, Stuck
from tsa_core.testing import encode_request, wait_until

_SIGNERS = '[profiles.remote]\nsigner = "stuck:remote"\n[profiles.local]\nsigner = "stuck:local"\n'
_CONFIG = AUDITED.replace('sinks = ["auditfile"]', 'sinks = ["stuck", "auditfile"]') + _SIGNERS
_OBSERVED = f'[server]\ngraceful_timeout = "1s"\n{_CONFIG}[observe]\nobservers = ["stuck"]\n'
_PINGS = 100
_FEWEST = 10
_LIMIT_SECONDS = 0.1
_DEFAULT = "/api/v1/timestamp"


def _environ(scene: Scene, stuck: Stuck) -> Mapping[str, str]:
    """Install the plugin `stuck`, and return the variables with which it is found."""
    site = scene.folder / "site"
    if not site.exists():
        metadata = site / "tsa_stuck-1.0.dist-info"
        metadata.mkdir(parents=True)
        (site / "tsa_stuck.py").write_text(SOURCE)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tsa-stuck\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("[tsa_core.plugins]\nstuck = tsa_stuck\n")
    return {**stuck.environ, "PYTHONPATH": str(site)}


@contextmanager
def _served(scene: Scene, engine: str, toml: str = _CONFIG, *flags: str) -> Iterator[tuple[WatchedServer, Stuck]]:
    stuck = Stuck(scene.folder / f"stuck-{engine}{'-'.join(flags)}")
    with scene.serve(toml, "--server", engine, *flags, environ=_environ(scene, stuck)) as server:
        assert server.grants()
        try:
            yield server, stuck
        finally:
            stuck.release()


def _is_red(server: WatchedServer) -> bool:
    return server.get("/readyz").status == 503


def _grants(server: WatchedServer, path: str) -> bool:
    return server.ask(path=path).granted


def _others(server: WatchedServer, *profiles: str, meanwhile: Callable[[], bool] = lambda: True) -> str:
    """Ask what must not wait, as long as `meanwhile()`, and return in words how long it took."""
    seconds: list[float] = []
    while len(seconds) < _PINGS and meanwhile():
        for path in ("/ping", "/healthz"):
            began = monotonic()
            assert server.get(path).status == 200
            seconds.append(monotonic() - began)
    assert len(seconds) >= _FEWEST, "the machine has no time for this"
    middle = median(seconds)
    assert middle < _LIMIT_SECONDS, middle
    for profile in profiles:
        assert server.ask(path=profile).granted
    tokens = "; tokens of other profiles" if profiles else ""
    return f"`/ping` and `/healthz` meanwhile within {ceil(middle * 1000)} ms at the median{tokens}"


def _hanging(server: WatchedServer, path: str, *profiles: str) -> str:
    """Ask for a token that hangs; return what came of it and of others meanwhile, and what comes at once afterwards."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.ask, path=path)
        others = _others(server, *profiles, meanwhile=lambda: not asked.done())
        first: Asked = asked.result(SECONDS)
    assert not first.granted
    with ThreadPoolExecutor(2) as pool:
        # One of them tries again, and waits; the other is refused at once.
        later = min(pool.map(lambda _: server.ask(path=path), range(2)), key=lambda asked: asked.seconds)
    assert not later.granted
    return f"{first.words}, after {took(first.seconds)}, then {took(later.seconds)}; {others}"


def _until_it_answers(scene: Scene, call: str, path: str, log: str, *profiles: str) -> Seen:
    """Let a call of the plugin hang under both engines."""
    clients, readyz, lines, healed = {}, {}, {}, {}
    for engine in ENGINES:
        with _served(scene, engine) as (server, stuck):
            stuck.stick(call)
            clients[engine] = _hanging(server, path, *profiles)
            lines[engine] = server.logged(log)
            server.until(partial(_is_red, server), what="/readyz is red")
            readyz[engine] = server.readyz()
            stuck.release()
            healed[engine] = server.until(partial(_grants, server, path), what="a token comes")
            server.healed()
    return Seen(
        client=joined(clients), log=joined(lines), readyz=joined(readyz), healed=f"{joined(healed)} after it answered"
    )


@fault("waiting-disk", "A local audit sink's disk does not answer; waitress, and granian")
def disk(scene: Scene) -> Seen:
    """Another thread takes over the loop, and the sink's limit is kept."""
    return _until_it_answers(scene, "disk", _DEFAULT, "audit sink 'stuck' has not returned")


@fault("waiting-flock", "A foreign process holds the lock of the audit file; waitress, and granian")
def flock(scene: Scene) -> Seen:
    """The same with a file that answers and a lock that does not."""
    clients, readyz, lines, healed = {}, {}, {}, {}
    for engine in ENGINES:
        with scene.serve(AUDITED, "--server", engine) as server:
            assert server.grants()
            with (scene.folder / "audit.jsonl").open("rb") as trail:
                fcntl.flock(trail, fcntl.LOCK_EX)
                clients[engine] = _hanging(server, _DEFAULT)
                lines[engine] = server.logged("audit sink 'auditfile' has not returned")
                server.until(partial(_is_red, server), what="/readyz is red")
                readyz[engine] = server.readyz()
            healed[engine] = server.healed()
    return Seen(
        client=joined(clients),
        log=joined(lines),
        readyz=joined(readyz),
        healed=f"{joined(healed)} after the lock was free",
    )


@fault("waiting-signer", "A remote signer's backend does not answer, and the signer ignores its time limit")
def signer(scene: Scene) -> Seen:
    """The core keeps the limit."""
    return _until_it_answers(scene, "remote", "/tsa/remote", "the signer 'stuck'.*has not returned", _DEFAULT)


@fault("waiting-local-signer", "A signer says that its key is in memory (`local`), and waits")
def local_signer(scene: Scene) -> Seen:
    """Batches wait behind it, and nothing else."""
    return _until_it_answers(scene, "local", "/tsa/local", "has not returned within")


@fault("waiting-log", "Nobody reads the pipe into which the log goes")
def log_pipe(_scene: Scene) -> Seen:
    """Lines are dropped and counted."""
    clients, metrics = {}, {}
    for engine in ENGINES:
        with unread_server("--server", engine) as unread:
            seconds = []
            for _ in range(_PINGS):
                began = monotonic()
                assert unread.server.request("GET", "/ping").status == 200
                seconds.append(monotonic() - began)
            middle = median(seconds)
            assert middle < _LIMIT_SECONDS, middle
            assert unread.server.post(encode_request()).status == 200
            assert unread.dropped()
            clients[engine] = f"tokens; `/ping` within {ceil(middle * 1000)} ms at the median"
            metrics[engine] = "`log_lines_dropped_total` counts"
            began = monotonic()
            unread.process.send_signal(signal.SIGTERM)
            assert unread.process.wait(SECONDS) == 0
            assert monotonic() - began < 4
    return Seen(
        client=joined(clients),
        metric=joined(metrics),
        also="SIGTERM ends the server in time",
        healed="a line says how many were dropped, once somebody reads",
    )


@fault("waiting-exit", "A signer calls `sys.exit()`")
def exits(scene: Scene) -> Seen:
    """A crash of that plugin."""
    clients, lines, healed = {}, {}, {}
    for engine in ENGINES:
        with _served(scene, engine) as (server, stuck):
            (stuck.folder / "exit").touch()
            clients[engine] = server.ask(path="/tsa/remote").words
            clients[engine] += f"; {_others(server, _DEFAULT)}"
            lines[engine] = server.logged("crashed")
            (stuck.folder / "exit").unlink()
            healed[engine] = server.until(partial(_grants, server, "/tsa/remote"), what="a token")
    return Seen(client=joined(clients), log=joined(lines), healed=f"{joined(healed)} after it signed again")


@fault("waiting-end", "SIGTERM while a sink, a signer, an observer, a reload and `close()` of two plugins hang")
def end(scene: Scene) -> Seen:
    """Every way of serving ends in time, and says what did not end."""
    ends, lines = {}, {}
    for engine in ENGINES:
        for workers in ("1", "2"):
            with (
                _served(scene, engine, _OBSERVED, "--workers", workers) as (server, stuck),
                ThreadPoolExecutor(2) as pool,
            ):
                stuck.stick("observe", "remote", "disk", "open", "close", "flush")
                for path in ("/tsa/remote", _DEFAULT):
                    pool.submit(server.ask, path=path)
                server.process.send_signal(signal.SIGHUP)
                for call in ("observe", "remote", "disk", "open"):
                    wait_until(partial(stuck.reached, call), seconds=SECONDS, what=call)
                began = monotonic()
                server.process.send_signal(signal.SIGTERM)
                assert server.process.wait(SECONDS) == 0
                seconds = monotonic() - began
                assert seconds < 5, seconds  # the promise is 3 s; the page says what it was
                ends[f"{engine}, {workers} {'process' if workers == '1' else 'workers'}"] = took(seconds)
            lines[engine] = server.logged("has not returned from Disk.write_all")
            server.logged("stopped: requests were cut off")
    return Seen(
        client="connections are closed",
        log=joined(lines),
        also=f"the last line: `stopped: requests were cut off; see the lines above`; ended after {joined(ends)}",
        healed="`graceful_timeout` was 1 s: the end comes 2 s later at most",
    )
