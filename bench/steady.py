"""What only shows over time or in numbers: idle connections, minutes of load, and whether every reply verifies.

    python -m bench.steady [--quick]

idle: the throughput of 16 busy connections beside 1,000 that do nothing, as a part of what it is alone.
sustained: minutes at 80 % of the most; memory and latency of the end beside those of the beginning. Latency is compared
in bare signatures made beside it, because a shared machine is faster in one minute than in the next.
sample: replies to distinct requests, every one verified, with request, nonce, chain and signature.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
from collections.abc import Iterator
from statistics import median

from bench.client import ask
from bench.issue import SERVERS, WITH_CERTIFICATES
from bench.measure import Server, bare_signature_us, process_tree, resident_mib
from bench.report import Row, print_rows, progress
from tsa_core.client import build_request
from tsa_core.protocol.request import read_request
from tsa_core.verify import TrustStore, Verifier

_IDLE = 1000
_BUSY = 64
"""Connections of the sustained load: wrk's pauses are whole milliseconds, and few connections would pause for less."""
_KIND = "ecdsa-p256"
_ENGINES = ("waitress", "granian")


def idle(*, quick: bool) -> list[Row]:
    """Measure the throughput beside idle connections."""
    rows = []
    rounds, seconds = (2, 2.0) if quick else (5, 4.0)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), most))
    for engine in _ENGINES:
        progress(f"{engine} with {_IDLE:,} idle connections")
        server = Server(*SERVERS[engine], environment={"TSA_SERVER__CONNECTION_LIMIT": "4000"})
        try:
            alone, beside = [], []
            for _ in range(rounds):
                alone.append(server.load(WITH_CERTIFICATES, connections=16, seconds=seconds).per_second)
                held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(_IDLE)]
                beside.append(server.load(WITH_CERTIFICATES, connections=16, seconds=seconds).per_second)
                for each in held:
                    each.close()
        finally:
            server.close()
        kept = median(there / here for here, there in zip(alone, beside, strict=True))
        rows.append(
            Row(
                part="idle",
                name=f"idle, {engine}, {_IDLE} idle beside 16 busy connections",
                figures={"requests/s": median(beside), "throughput kept": kept},
            )
        )
    return rows


def sustained(*, quick: bool) -> list[Row]:
    """Ask at 80 % of the most for ten minutes, ten seconds when quick."""
    rows = []
    parts, seconds = 10, 1.0 if quick else 60.0
    for engine in _ENGINES:
        server = Server(*SERVERS[engine])
        try:
            loads, latencies, memory = [], [], []
            for number in range(parts):
                progress(f"{engine} at 80 % of the most, part {number + 1} of {parts}")
                # Anew for each part: on a shared machine what was 80 % may be more than all a minute later.
                pause = _pause_ms(server, 0.8, seconds=min(3.0, seconds))
                loads.append(server.load(WITH_CERTIFICATES, connections=_BUSY, seconds=seconds, pause_ms=pause))
                latencies.append(1000 * loads[-1].p50_ms / bare_signature_us(_KIND))
                memory.append(sum(map(resident_mib, process_tree(server.process.pid))))
        finally:
            server.close()
        # The first part is the warming up.
        rows.append(
            Row(
                part="sustained",
                name=f"sustained, {engine}, {parts * seconds:g} s at 80 % of the most",
                figures={
                    "requests/s": median(load.per_second for load in loads),
                    "p50 ms": median(load.p50_ms for load in loads),
                    "p50 grew": median(latencies[-3:]) / median(latencies[1:4]),
                    "p99 ms": median(load.p99_ms for load in loads),
                    "MiB": memory[-1],
                    "MiB grew": memory[-1] - memory[1],
                    "errors": sum(load.errors for load in loads),
                },
            )
        )
    return rows


def _pause_ms(server: Server, part: float, *, seconds: float) -> float:
    """Return the pause after each reply that makes the load this part of the most."""
    most = server.load(WITH_CERTIFICATES, connections=_BUSY, seconds=seconds).per_second
    turn = 1000 * _BUSY / (part * most)
    tried = part * turn  # what is left of the turn is about what a reply takes then
    reply = 1000 * _BUSY / server.load(WITH_CERTIFICATES, connections=_BUSY, seconds=seconds, pause_ms=tried).per_second
    return max(0.0, turn - (reply - tried))


def sample(*, quick: bool) -> list[Row]:
    """Verify every reply of a sample, with the chain that the server itself gives."""
    rows = []
    size = 2_000 if quick else 100_000
    for engine in _ENGINES:
        progress(f"{size:,} replies of {engine}'s verified")
        server = Server(*SERVERS[engine])
        try:
            replies = ask(server.port, _requests(size), connections=16)
            verifier = Verifier(TrustStore.from_chain(server.get("/api/v1/timestamp/certchain")))
        finally:
            server.close()
        serials = set()
        for body, reply in replies:
            request = read_request(body)
            verified = verifier.verify_response(reply, digest=request.digest, request=body)
            serials.add(verified.tst_info.serial_number)
        rows.append(
            Row(
                part="sample",
                name=f"sample, {engine}",
                figures={"replies": size, "verified": len(replies), "serial numbers": len(serials)},
            )
        )
    return rows


def _requests(count: int) -> Iterator[bytes]:
    return (build_request(digest=os.urandom(32)) for _ in range(count))


def run(*, quick: bool) -> list[Row]:
    """Measure and return the table's rows."""
    return [*idle(quick=quick), *sample(quick=quick), *sustained(quick=quick)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    print_rows(run(quick=parser.parse_args().quick))


if __name__ == "__main__":
    main()
