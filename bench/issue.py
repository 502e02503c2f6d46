"""Whole servers: CPU for each request, requests per second and latency, beside bare signatures of the same key.

    python -m bench.issue [--quick]

All servers run at once and take turns under load (A B C A B C); figures are medians over the rounds. What counts is the
ratio to a bare signature, which is measured in every round, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.measure import FLOOR, Load, bare_signature_us, have_wrk, servers
from bench.report import Row, print_rows, progress
from tsa_core.protocol.hashes import SHA1, SHA256
from tsa_core.protocol.request import encode_request

WITH_CERTIFICATES = encode_request(algorithm=SHA256, digest=bytes(32), nonce=2**63 - 1, cert_req=True)
WITHOUT_CERTIFICATES = encode_request(algorithm=SHA256, digest=bytes(32), nonce=2**63 - 1)
REFUSED = encode_request(algorithm=SHA1, digest=bytes(20), nonce=2**63 - 1, cert_req=True)
GARBAGE = b"\x30\x82" + bytes(100)

SERVERS = {
    "batched loop, the floor": FLOOR,
    "waitress": ("--server", "waitress"),
    "granian": ("--server", "granian"),
    "granian, 2 workers": ("--server", "granian", "--workers", "2"),
}
OTHER_KINDS = ("ecdsa-p384", "ed25519", "rsa-2048", "rsa-3072", "ml-dsa-65")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One line of the table: which server, what it is asked, by how many connections."""

    server: str
    kind: str
    name: str
    body: bytes
    connections: int
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)


def cases(*, quick: bool) -> Iterator[Case]:
    """Yield what is measured."""
    for server in SERVERS:
        for connections in (16,) if quick else (1, 16, 64):
            yield Case(
                server=server, kind="ecdsa-p256", name="granted", body=WITH_CERTIFICATES, connections=connections
            )
    for server in ("waitress", "granian"):
        plain = (("without certificates", WITHOUT_CERTIFICATES),) if not quick else ()
        for name, body in (*plain, ("refused, SHA-1", REFUSED), ("refused, garbage", GARBAGE)):
            yield Case(server=server, kind="ecdsa-p256", name=name, body=body, connections=16)
        yield Case(
            server=server,
            kind="ecdsa-p256",
            name="a connection for each request",
            body=WITH_CERTIFICATES,
            connections=16,
            headers={"Connection": "close"},
        )
    for kind in () if quick else OTHER_KINDS:
        yield Case(server=f"granian {kind}", kind=kind, name="granted", body=WITH_CERTIFICATES, connections=16)


def run(*, quick: bool) -> list[Row]:
    """Measure and return the table's rows."""
    rounds, seconds = (2, 1.0) if quick else (5, 4.0)
    configurations = {name: (arguments, "ecdsa-p256") for name, arguments in SERVERS.items()}
    for kind in () if quick else OTHER_KINDS:
        configurations[f"granian {kind}"] = (SERVERS["granian"], kind)
    wanted = list(cases(quick=quick))
    loads: dict[Case, list[Load]] = {case: [] for case in wanted}
    bare: dict[str, list[float]] = {case.kind: [] for case in wanted}
    with servers(configurations) as running:
        for number in range(rounds):
            progress(f"servers under load, round {number + 1} of {rounds}")
            for kind, values in bare.items():
                values.append(bare_signature_us(kind))
            for case in wanted:
                server = running[case.server]
                load = server.load(case.body, connections=case.connections, seconds=seconds, headers=case.headers)
                loads[case].append(load)
    rows = [_row(case, loads[case], median(bare[case.kind])) for case in wanted]
    return [*rows, _scaling(loads)]


def _scaling(loads: Mapping[Case, Sequence[Load]]) -> Row:
    """Return how much more two workers on two cores of their own answer than one worker on one.

    Here the load generator takes its part of the cores, so this is not throughput: a core answers as many requests as
    it has time for, by the CPU that each takes in either server, both beside the same load generator.
    """
    rounds: dict[str, list[float]] = {}
    for case, each in loads.items():
        if case.name == "granted" and case.connections == 16 and case.kind == "ecdsa-p256":
            rounds[case.server] = [load.cpu_us for load in each]
    ratios = [2 * one / two for one, two in zip(rounds["granian"], rounds["granian, 2 workers"], strict=True)]
    return Row(part="scaling", name="granian, 2 workers on 2 cores", figures={"times one worker": median(ratios)})


def _row(case: Case, loads: list[Load], bare_us: float) -> Row:
    cpu = median(load.cpu_us for load in loads)
    return Row(
        part="issue",
        name=f"{case.server}, {case.kind}, {case.name}, {case.connections} connections",
        figures={
            "cpu us": cpu,
            "bare signatures": cpu / bare_us,
            "requests/s": median(load.per_second for load in loads),
            "p50 ms": median(load.p50_ms for load in loads),
            "p99 ms": median(load.p99_ms for load in loads),
            "errors": sum(load.errors for load in loads),
        },
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one server each, a few seconds")
    arguments = parser.parse_args()
    if not have_wrk():
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk)")
    print_rows(run(quick=arguments.quick))


if __name__ == "__main__":
    main()
