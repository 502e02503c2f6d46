"""What a second thread would bring to one process: bare signatures in one thread and in two.

    python -m bench.second_thread

The library lets other threads run while it signs. `times one` is throughput, at best 2, and `CPU times one` what a
signature costs then. Decision 281 says why the server does not use it: two workers bring as much.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter, process_time

from bench.report import Row, print_rows, progress
from tsa_core.protocol.signatures import signature_algorithm
from tsa_core.testing.pki import shared_key

KINDS = ("ecdsa-p256", "ed25519", "ecdsa-p384", "rsa-2048", "rsa-3072", "ml-dsa-65")
_MESSAGE = bytes(150)


def run(*, rounds: int = 9, seconds: float = 0.1) -> list[Row]:
    """Measure and return the table's rows."""
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
                    name=f"{kind}, two threads",
                    figures={"times one": median(wall), "CPU times one": median(cpu)},
                )
            )
    return rows


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
    print_rows(run())


if __name__ == "__main__":
    main()
