"""Inside one process: reading a request, and from request to reply, beside bare signatures of the same key.

`batch of 32`: servers answer the requests that have arrived in batches, up to this size.

python -m bench.inprocess [--quick]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median

from bench.issue import GARBAGE, REFUSED, WITH_CERTIFICATES
from bench.measure import bare_signature_us, cpu_us
from bench.report import Row, print_rows, progress
from tsa_core.api import RequestContext
from tsa_core.authority import TimestampAuthority
from tsa_core.config import load_settings
from tsa_core.protocol.request import read_request
from tsa_core.service import Service

BATCH_SIZE = 32
SLICES = 5
KINDS = ("ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048", "rsa-3072", "ml-dsa-65")


def run(*, quick: bool) -> list[Row]:
    """Measure and return the table's rows."""
    rounds, calls = (5, 400) if quick else (15, 1000)
    rows = []
    for kind in KINDS[:1] if quick else KINDS:
        progress(f"in process, {kind}")
        settings = load_settings(overrides={"signer": {"memory": {"algorithm": kind}}}, environ={})
        with Service(settings) as service:
            respond, context = service.authority.respond, RequestContext()
            batch = f"request to reply, batch of {BATCH_SIZE}"
            calls_of: dict[str, Callable[[], object]] = {
                "read a request": partial(read_request, WITH_CERTIFICATES),
                "request to reply": partial(respond, WITH_CERTIFICATES, context),
                batch: partial(_respond_batch, service.authority, context),
                "refuse SHA-1": partial(respond, REFUSED, context),
                "refuse garbage": partial(respond, GARBAGE, context),
            }
            ratios: dict[str, list[float]] = {name: [] for name in calls_of}
            costs: dict[str, list[float]] = {name: [] for name in calls_of}
            for _ in range(rounds):
                for name, call in calls_of.items():
                    bare = bare_signature_us(kind, seconds=0.05)
                    count = BATCH_SIZE if name == batch else 1
                    repeats = (calls if kind in {"ecdsa-p256", "ed25519"} else calls // 5) // count
                    costs[name].append(_cost(call, repeats) / count)
                    ratios[name].append(costs[name][-1] / bare)
        rows += [
            Row(
                part="in process",
                name=f"in process, {kind}, {name}",
                figures={"cpu us": median(costs[name]), "bare signatures": median(ratios[name])},
            )
            for name in calls_of
        ]
    return rows


def _respond_batch(authority: TimestampAuthority, context: RequestContext) -> None:
    """Answer a batch of requests, as servers do."""
    authority.respond_batch([authority.admit(WITH_CERTIFICATES, context) for _ in range(BATCH_SIZE)])


def _cost(call: Callable[[], object], calls: int) -> float:
    """Return the CPU time of one call as that of a bare signature is taken: the median of slices."""
    return median(cpu_us(call, calls=max(1, calls // SLICES)) for _ in range(SLICES))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="P-256 only, a few seconds")
    print_rows(run(quick=parser.parse_args().quick))


if __name__ == "__main__":
    main()
