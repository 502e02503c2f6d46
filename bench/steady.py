"""What only shows over time or in numbers: idle connections, minutes of load, and whether every reply verifies.

    python -m bench.steady [--quick]

idle: the throughput of 16 busy connections beside 1,000 that do nothing, as a part of what it is alone.
sustained: minutes at 80 % of the most; memory and latency of the last tenth beside those of the second tenth.
sample: replies to distinct requests, every one verified, with request, nonce, chain and signature.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import socket
from collections.abc import Iterator
from statistics import median

from bench.client import ask
from bench.issue import SERVERS, WITH_CERTIFICATES
from bench.measure import Server, process_tree, resident_mib
from bench.report import Row, print_rows, progress
from tsa_core.client import build_request
from tsa_core.protocol.request import read_request
from tsa_core.verify import TrustStore, Verifier

_IDLE = 1000
_FREE_SECONDS = 3.0
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
            latencies, memory, failures, count = [], [], 0, 0
            for number in range(parts):
                progress(f"{engine} at 80 % of the most, part {number + 1} of {parts}")
                # Anew for each part: on a shared machine what was 80 % may be more than all, and then a queue grows.
                free = ask(server.port, itertools.repeat(WITH_CERTIFICATES), connections=16, seconds=_FREE_SECONDS)
                most = len(free.latencies) / _FREE_SECONDS
                run = ask(
                    server.port,
                    itertools.repeat(WITH_CERTIFICATES),
                    connections=16,
                    per_second=0.8 * most,
                    seconds=seconds,
                )
                latencies.append(sorted(run.latencies))
                memory.append(sum(map(resident_mib, process_tree(server.process.pid))))
                failures += run.failures
                count += len(run.latencies)
        finally:
            server.close()
        second, last = latencies[1], latencies[-1]
        rows.append(
            Row(
                part="sustained",
                name=f"sustained, {engine}, {parts * seconds:g} s at 80 % of the most",
                figures={
                    "requests/s": count / (parts * seconds),
                    "p50 ms": 1000 * median(last),
                    "p50 grew": median(last) / median(second),
                    "p99 ms": 1000 * last[int(0.99 * len(last))],
                    "MiB": memory[-1],
                    "MiB grew": memory[-1] - memory[1],
                    "errors": failures,
                },
            )
        )
    return rows


def sample(*, quick: bool) -> list[Row]:
    """Verify every reply of a sample, with the chain that the server itself gives."""
    rows = []
    size = 2_000 if quick else 100_000
    for engine in _ENGINES:
        progress(f"{size:,} replies of {engine}'s verified")
        server = Server(*SERVERS[engine])
        replies: list[tuple[bytes, bytes]] = []
        try:
            ask(server.port, _requests(size), connections=16, taken=replies)
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
