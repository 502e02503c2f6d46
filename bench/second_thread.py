"""What a second thread brings to one process that signs with a slow key in memory (decision 287).

    python -m bench.second_thread

Bare signatures in one thread and in two, and a whole server, waitress, without and with `second_thread`, which take
turns under load. `times one` is throughput, at best 2, and `CPU times one` what a signature or request costs then. The
load generator is on the same CPUs: `generator cores` is what it takes from them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter, process_time

from bench.issue import WITH_CERTIFICATES
from bench.measure import Load, Server, have_wrk
from bench.report import Row, print_rows, progress
from tsa_core.protocol.signatures import signature_algorithm
from tsa_core.testing.pki import shared_key

KINDS = ("ecdsa-p256", "ed25519", "ecdsa-p384", "rsa-2048", "rsa-3072", "ml-dsa-65")
SERVER_KINDS = ("ecdsa-p384", "rsa-2048", "rsa-3072", "ml-dsa-65")
"""Those for which a server uses its second thread."""
CONNECTIONS = (16, 64)
_MESSAGE = bytes(150)


def run(*, rounds: int = 9, seconds: float = 0.1) -> list[Row]:
    """Measure bare signatures and return the table's rows."""
    progress("bare signatures in two threads")
    rows = []
    with ThreadPoolExecutor(1) as other:
        for kind in KINDS:
            key = shared_key(kind)
            sign = signature_algorithm(key.public_key()).signing_function(key)
            began = perf_counter()
            sign(_MESSAGE)
            count = max(2, int(seconds / (perf_counter() - began)))
            wall, cpu = [], []
            for _ in range(rounds):
                one = _timed(lambda: _signatures(sign, count))  # noqa: B023 - called at once
                two = _timed(lambda: _in_two(other, sign, count))  # noqa: B023
                wall.append(one[0] / two[0])
                cpu.append(two[1] / one[1])
            rows.append(
                Row(
                    part="second thread",
                    name=f"{kind}, bare signatures",
                    figures={"times one": median(wall), "CPU times one": median(cpu)},
                )
            )
    return rows


def run_servers(*, rounds: int = 5, seconds: float = 1.0) -> list[Row]:
    """Measure servers and return the table's rows."""
    rows = []
    for kind in SERVER_KINDS:
        progress(f"a server that signs in two threads, {kind}")
        pairs: dict[int, list[tuple[Load, Load]]] = {}
        one = _server(kind, second_thread=False)
        try:
            two = _server(kind, second_thread=True)
            try:
                for _ in range(rounds):
                    for connections in CONNECTIONS:
                        single, double = (
                            server.load(WITH_CERTIFICATES, connections=connections, seconds=seconds)
                            for server in (one, two)
                        )
                        pairs.setdefault(connections, []).append((single, double))
            finally:
                two.close()
        finally:
            one.close()
        rows += [_row(kind, connections, loads) for connections, loads in pairs.items()]
    return rows


def _server(kind: str, *, second_thread: bool) -> Server:
    environment = {"TSA_SIGNER__MEMORY__ALGORITHM": kind, "TSA_SERVER__SECOND_THREAD": str(second_thread).lower()}
    return Server("--metrics=false", "--access-log=false", environment=environment)


def _row(kind: str, connections: int, pairs: list[tuple[Load, Load]]) -> Row:
    return Row(
        part="second thread",
        name=f"{kind}, waitress, {connections} kept connections",
        figures={
            "times one": median(two.per_second / one.per_second for one, two in pairs),
            "CPU times one": median(two.cpu_us / one.cpu_us for one, two in pairs),
            "CPU us": median(two.cpu_us for _, two in pairs),
            "requests/s": median(two.per_second for _, two in pairs),
            "p99 ms": median(two.p99_ms for _, two in pairs),
            "generator cores": median(two.generator_cores for _, two in pairs),
            "errors": sum(one.errors + two.errors for one, two in pairs),
        },
    )


def _signatures(sign: Callable[[bytes], bytes], count: int) -> None:
    for _ in range(count):
        sign(_MESSAGE)


def _in_two(other: ThreadPoolExecutor, sign: Callable[[bytes], bytes], count: int) -> None:
    half = other.submit(_signatures, sign, count // 2)
    _signatures(sign, count - count // 2)
    half.result()


def _timed(call: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds of wall time and of this process's CPU that a call takes."""
    wall, cpu = perf_counter(), process_time()
    call()
    return perf_counter() - wall, process_time() - cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.second_thread", description=(__doc__ or "").splitlines()[0])
    parser.parse_args()
    if not have_wrk():
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk)")
    print_rows([*run(), *run_servers()])


if __name__ == "__main__":
    main()
