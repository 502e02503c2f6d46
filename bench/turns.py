"""Servers that run at the same time and take turns under load, so that a noisy moment hits all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

from bench.issue import WITH_CERTIFICATES
from bench.measure import Load, Server, bare_signature_us
from bench.report import Row, progress

KIND = "ecdsa-p256"
KEY_OF_SERVERS = {"TSA_SIGNER__MEMORY__ALGORITHM": KIND}
"""What the servers' environment must say, for their signatures to be the bare ones that they are compared with."""


def take_turns(
    part: str,
    servers: Mapping[str, Server],
    *,
    quick: bool,
    headers: Mapping[str, str] | None = None,
    others: Mapping[str, tuple[str, Callable[[], float]]] | None = None,
) -> list[Row]:
    """Return a row for each server and number of connections: medians over the rounds.

    `others` are processes beside a server that work for it too, by the server's name: the name of the figure, and what
    returns the CPU seconds that they have used.
    """
    rounds, seconds = (2, 1.0) if quick else (5, 3.0)
    loads: dict[tuple[str, int], list[Load]] = {}
    beside: dict[tuple[str, int], list[float]] = {}
    bare: list[float] = []
    for number in range(rounds):
        progress(f"{part}, round {number + 1} of {rounds}")
        bare.append(bare_signature_us(KIND))
        for connections in (16,) if quick else (1, 16, 64):
            for name, server in servers.items():
                _, used = (others or {}).get(name, ("", None))
                before = used() if used is not None else 0.0
                load = server.load(
                    WITH_CERTIFICATES, connections=connections, seconds=seconds, headers=dict(headers or {})
                )
                loads.setdefault((name, connections), []).append(load)
                if used is not None:
                    beside.setdefault((name, connections), []).append((used() - before) * 1e6 / load.requests)
    return [
        Row(
            part=part,
            name=f"{name}, {connections} connections",
            figures={
                "cpu us": (cpu := median(load.cpu_us for load in each)),
                "bare signatures": cpu / median(bare),
                "requests/s": median(load.per_second for load in each),
                "p50 ms": median(load.p50_ms for load in each),
                "p99 ms": median(load.p99_ms for load in each),
                "errors": sum(load.errors for load in each),
                **({(others or {})[name][0]: median(found)} if (found := beside.get((name, connections))) else {}),
            },
        )
        for (name, connections), each in loads.items()
    ]
