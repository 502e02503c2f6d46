"""Faults of clients: heads, bodies and connections that no honest client sends; and what ends or starves a worker."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic

from bench.attackers import HEAD
from bench.faults.fault import Act, Seen, fault
from bench.faults.readiness import small_disk
from bench.faults.scene import MEMORY, SECONDS, Scene, WatchedServer, took
from bench.hostile import attacked, honest_waits
from bench.read_only_root import read_only_root
from tests.hostile.attack import GOOD, REQUEST, head, replies
from tsa_core.testing import encode_request

ENGINES = ("waitress", "granian")
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(REQUEST), REQUEST)
MANY = [f"127.0.1.{number}" for number in range(1, 101)]
WORKERS = '[server]\nworkers = 2\nworker_timeout = "2s"\n' + MEMORY


def joined(texts: Mapping[str, str]) -> str:
    """Return what was seen of each engine, once when it is the same."""
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{engine}: {text}" for engine, text in texts.items())


def exchange(server: WatchedServer, data: bytes) -> bytes:
    """Send octets as they are, and return what comes until the server closes."""
    received = b""
    with socket.create_connection(server.address(), SECONDS) as connection, suppress(ConnectionError):
        connection.sendall(data)
        while part := connection.recv(65536):
            received += part
    return received


def answer(server: WatchedServer, data: bytes) -> str:
    """Send a request with an honest one behind it; return what came in words. The second must not be answered."""
    found = replies(exchange(server, data + GOOD))
    assert len(found) <= 1, found
    if not found:
        return "the connection is closed"
    (reply,) = found
    text = f"HTTP {reply.status}"
    with suppress(ValueError, KeyError, TypeError):
        text += f" `{json.loads(reply.body)['message']}`"
    return f"{text}, closed"


def refused(requests: Mapping[str, bytes], statuses: Sequence[int]) -> Act:
    """Return a fault: requests that must be answered with one of these statuses, or not at all, by both engines."""

    def act(scene: Scene) -> Seen:
        seen: dict[str, str] = {}
        logged: set[str] = set()
        for engine in ENGINES:
            with scene.serve(MEMORY, "--server", engine) as server:
                before = len(server.log)
                texts = {name: answer(server, data) for name, data in requests.items()}
                for text in texts.values():
                    found = re.match(r"HTTP (\d+)", text)
                    assert found is None or int(found[1]) in statuses, text
                one = len(set(texts.values())) == 1
                seen[engine] = text if one else ", ".join(f"{name}: {text}" for name, text in texts.items())
                assert server.grants()
                server.logged("POST /api/v1/timestamp 200")
                logged |= {line for line in server.log[before:].splitlines() if " 200 " not in line}
        assert not [line for line in logged if "[error" in line or "Traceback" in line], logged
        return Seen(
            client=joined(seen),
            log=server.plain(min(logged)) if logged else "",
            also="" if logged else "nothing",
            healed="at once: the next client got a token",
        )

    return act


ONE_OCTET = head("Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 60_000
for _name, _done, _requests, _statuses in (
    (
        "http-equal-names",
        "One head of 15,992 equal names, 64 KiB",
        {"": HEAD + b"X:\r\n" * 15_992 + b"\r\n"},
        [431],
    ),
    (
        "http-two-framings",
        "Content-Length with Transfer-Encoding, in both orders, and another request behind it",
        {
            "length first": head("Content-Length: 5", "Transfer-Encoding: chunked") + CHUNKED,
            "coding first": head("Transfer-Encoding: chunked", "Content-Length: 5") + CHUNKED,
        },
        [400, 200],
    ),
    (
        "http-old-chunks",
        "Transfer-Encoding in HTTP/1.0, with `Connection: keep-alive`, and another request behind it",
        {"": head("Connection: keep-alive", "Transfer-Encoding: chunked", version="HTTP/1.0") + CHUNKED},
        [400],
    ),
    (
        "http-host",
        "No Host; two Hosts",
        {
            "none": head(f"Content-Length: {len(REQUEST)}").replace(b"Host: tsa.example\r\n", b"") + REQUEST,
            "two": head("Host: other.example", f"Content-Length: {len(REQUEST)}") + REQUEST,
        },
        [400],
    ),
    ("http-long-length", "A Content-Length of 5,000 digits", {"": head("Content-Length: " + "9" * 5000)}, [400, 413]),
    ("http-tiny-chunks", "A body in 60,000 chunks of one octet", {"": ONE_OCTET}, [400]),
    (
        "http-large-body",
        "A body of 70,000 octets; one that is announced as a gigabyte",
        {
            "sent": head("Content-Length: 70000", "Connection: close") + bytes(70_000),
            "announced": head("Content-Length: 1000000000"),
        },
        [413],
    ),
):
    fault(_name, _done)(refused(_requests, _statuses))


@fault("http-expect", "`Expect: 100-continue` in a head that is refused (two Hosts, 70,000 octets), then in a good one")
def expect(scene: Scene) -> Seen:
    """Nobody is asked to go on whose head is refused."""
    seen = {}
    for engine in ENGINES:
        with scene.serve(MEMORY, "--server", engine) as server:
            wrong = head("Host: b", f"Content-Length: {len(REQUEST)}", "Expect: 100-continue")
            large = head("Content-Length: 70000", "Expect: 100-continue")
            texts = [answer(server, data) for data in (wrong, large)]
            good = head(f"Content-Length: {len(REQUEST)}", "Expect: 100-continue", "Connection: close")
            with socket.create_connection(server.address(), SECONDS) as connection:
                connection.sendall(good)
                assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
                connection.sendall(REQUEST)
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            seen[engine] = f"{'; '.join(texts)}; then `100 Continue` and a token"
    return Seen(client=joined(seen), also="nothing", healed="at once: the next client got a token")


def attack(kind: str, sources: Sequence[str], line: str) -> Act:
    """Return a fault: a process holds connections and opens again what is closed; honest clients ask meanwhile."""

    def act(scene: Scene) -> Seen:
        waits, log = {}, {}
        for engine in ENGINES:
            with scene.serve(MEMORY, "--server", engine, "--access-log=false") as server:
                with attacked(server.port, kind, sources):
                    measured = honest_waits(server.port, seconds=5)
                    log[engine] = server.logged(line) if line else ""
                assert not measured.failed, measured
                waits[engine] = f"tokens after {measured} (median, longest)"
                server.healed()
        return Seen(
            client=joined(waits), log=log["waitress"], also="" if line else "nothing", healed="served meanwhile"
        )

    return act


fault("slots-heads", "1,010 heads that never end, from 100 addresses, opened again when closed; 1,000 slots")(
    attack("heads", MANY, "connections .*are in use")
)
fault("slots-one-address", "One address opens 1,010 connections and says nothing, again and again; 1,000 slots")(
    attack("silence", ["127.0.0.2"], "has its share of the connections")
)
fault("slots-names", "200 connections send heads of 15,992 equal names, again and again")(
    attack("names", ["127.0.0.2"], "")
)


@fault("slow-requests", 'A head, and a body, that come an octet every 50 ms; `read_timeout = "2s"` instead of 30 s')
def slow(scene: Scene) -> Seen:
    """Both end, and others do not notice."""
    toml = '[server]\nread_timeout = "2s"\n' + MEMORY
    seen = {}
    for engine in ENGINES:
        texts = []
        with scene.serve(toml, "--server", engine) as server:
            for what, data in (("head", head("X: " + "x" * 9000)), ("body", head("Content-Length: 9000"))):
                texts.append(f"the slow {what} is closed after {trickle(server, data)}")
        seen[engine] = ", ".join(texts)
    return Seen(
        client=f"{joined(seen)}; others get tokens at once meanwhile", also="nothing", healed="served meanwhile"
    )


def trickle(server: WatchedServer, data: bytes) -> str:
    """Send a head and then octets slowly until the server closes; return after how long it did."""
    with socket.create_connection(server.address(), timeout=0.05) as connection:
        connection.sendall(data[:200])
        started = monotonic()
        while True:
            assert monotonic() < started + SECONDS
            assert server.ask().seconds < SECONDS
            with suppress(TimeoutError):
                try:
                    connection.sendall(b"x")
                    if not connection.recv(65536):
                        return took(monotonic() - started)
                except ConnectionError:
                    return took(monotonic() - started)


def two_workers(server: WatchedServer, gone: set[int]) -> Callable[[], bool]:
    """Return what says whether two workers serve beside those that are gone."""
    return lambda: len(server.workers() - gone) == 2


@fault("worker-dies", "granian, two workers; one is killed (SIGKILL), and the other right after it")
def dies(scene: Scene) -> Seen:
    """granian's own process manager ended the service with exit code 2 at two deaths within 3.5 s."""
    with scene.serve(WORKERS, "--server", "granian") as server:
        gone = server.workers()
        started = monotonic()
        clients = set()
        for victim in gone:
            os.kill(victim, signal.SIGKILL)
            clients.add(server.ask().words)
        assert monotonic() - started < SECONDS
        healed = server.until(two_workers(server, gone), what="they are replaced")
        log = server.logged(r"ended by itself .* and is replaced")
        server.healed()
    return Seen(
        client=", or ".join(sorted(clients)),
        log=re.sub(r"worker \d+", "worker PID", log),
        also="the service ends with 0 when it is told to",
        healed=f"{healed} after the second",
    )


@fault("worker-hangs", 'Two workers; one is stopped (SIGSTOP); `worker_timeout = "2s"` instead of 30 s')
def hangs(scene: Scene) -> Seen:
    """It is killed and replaced."""
    clients, healed = {}, {}
    for engine in ENGINES:
        with scene.serve(WORKERS, "--server", engine) as server:
            victim = min(server.workers())
            os.kill(victim, signal.SIGSTOP)
            started = monotonic()
            asked = [server.ask(timeout=10) for _ in range(20)]
            clients[engine] = "; ".join(sorted({each.words for each in asked}))
            server.until(two_workers(server, {victim}), what="it is replaced")
            healed[engine] = f"{took(monotonic() - started)} after it hung"
            log = server.logged("has not answered for .* s; it is killed and replaced")
            assert server.grants()
    return Seen(
        client=f"new clients: {joined(clients)}; who is connected to it already gets nothing, until it is killed",
        log=re.sub(r"worker \d+", "worker PID", log),
        healed=joined(healed),
    )


def scrape(url: str) -> float:
    """Return how long a scrape of the metrics takes."""
    started = monotonic()
    with urllib.request.urlopen(url, timeout=SECONDS) as response:
        assert b"timestamp_authority_ready" in response.read()
    return monotonic() - started


def threads(pid: int) -> int:
    """Return how many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@fault("metrics-connections", "300 connections to the metrics' port that never end their heads")
def metrics_flood(scene: Scene) -> Seen:
    """The oldest goes when another comes, and there are 16 threads at most."""
    with scene.serve(MEMORY) as server, ExitStack() as stack:
        found = re.search(r"metrics at http://127\.0\.0\.1:(\d+)", server.log)
        assert found is not None
        url = f"http://127.0.0.1:{found[1]}/metrics"
        before = threads(server.process.pid)
        for _ in range(300):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", int(found[1])), SECONDS))
            with suppress(ConnectionError):
                connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        more = threads(server.process.pid) - before
        assert more <= 20, more
        longest = max(scrape(url) for _ in range(5))
        client = server.ask()
        assert client.granted
        healed = server.healed()
    return Seen(
        client=f"{client.words}, {took(client.seconds)}",
        also=f"{more} threads more at most; a scrape is answered {took(longest)}",
        healed=f"{healed}: nothing was to be healed",
    )


@fault(
    "read-only-root", "Everything is read-only and there is no /tmp; one process, then two workers; 60 KiB in a body"
)
def read_only(scene: Scene) -> Seen:
    """Requests need no disk, and metrics that cannot be shared end nobody."""
    flags = ("--port", "0", "--metrics-port", "0", "--timestamp-signer", "memory")
    with read_only_root() as wrapper:
        for engine in ENGINES:
            for workers in ("1", "2"):
                with scene.serve(None, *flags, "--server", engine, "--workers", workers, wrapper=wrapper) as server:
                    client = server.ask()
                    assert client.granted
                    large = server.ask(encode_request() + bytes(60_000))
                    assert not large.granted
                    assert "answer" not in large.words, large
                    log = server.logged("there is no room for the metrics") if workers == "2" else ""
                    metric = server.metric("metrics_shared") if workers == "2" else ""
    return Seen(
        client=f"{client.words}; with 60 KiB behind the request {large.words}",
        log=re.sub(r"tsa-core-metrics-\w+", "tsa-core-metrics-ID", log),
        metric=metric,
        healed="nothing was to be healed; the metrics, when there is a place that can be written to",
    )


@fault("metrics-full-disk", "Two workers; the disk of TMPDIR is full when a worker that was killed is replaced")
def metrics_full_disk(scene: Scene) -> Seen:
    """It would die of SIGBUS at its first count, again and again."""
    disk = scene.folder / "disk"
    with small_disk(disk) as fill, scene.serve(WORKERS, environ={"TMPDIR": str(disk)}) as server:
        assert server.grants()
        fill(True)
        victim = min(server.workers())
        os.kill(victim, signal.SIGKILL)
        log = server.logged("there is no room for the metrics")
        server.until(two_workers(server, {victim}), what="it is replaced")
        asked = {server.ask().words for _ in range(20)}
        metric = server.metric("metrics_shared")
        fill(False)
        healed = server.until(
            lambda: server.metric("metrics_shared") == "`metrics_shared 1.0`", what="the metrics are shared again"
        )
        assert "Traceback" not in server.log
        assert server.log.count("ended by itself") == 1, server.log
    return Seen(
        client=", or ".join(sorted(asked)),
        log=re.sub(r"tsa-core-metrics-\w+", "tsa-core-metrics-ID", log),
        metric=metric,
        healed=f"{healed} after there was room",
    )
