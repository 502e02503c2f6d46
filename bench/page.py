"""One page: our servers and commands beside those of others that are on this machine, as ratios, in one run.

    python -m bench.page [--rounds 5] [--seconds 2] [--write] [--only PART]

Everything takes turns (A B C A B C), so that a noisy moment hits all rows. Figures are medians over the rounds, and
ratios are taken within a round. With --write the page becomes docs/operate/measured.md. Five rounds take about twelve
minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench import commands, latency, remote_signer, scaling, second_thread, startup, verify, watching
from bench.issue import WITH_CERTIFICATES
from bench.measure import FLOOR, Load, RunningServer, Server, bare_signature_us, have_wrk
from bench.open_loop import NoGenerator
from bench.peers import peer_servers
from bench.report import Row, machine, number, progress
from bench.turns import KEY_OF_SERVERS, KIND
from bench.watching import CASES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operate" / "measured.md"
OURS: dict[str, Sequence[str]] = {
    "waitress": ("--server", "waitress"),
    "granian": ("--server", "granian"),
    "the floor: a loop without HTTP": FLOOR,
}
_HEAD = """\
# Measured beside others

<!-- python -m bench.page --write writes this page. -->

What `make bench` last measured, on {date}: medians of {rounds} interleaved rounds. Compare the rows of a table with one
another; figures of another machine, or another hour, differ. [Performance](performance.md) says what they mean. The
load generator (wrk, or bench.open_loop where a rate is given) was on the same cores.

{machine}
"""
_TEXTS = {
    "servers": """\
## Servers

ECDSA P-256 with certificates. `bare signatures` is the server's CPU for a request, divided by that of one signature
with nothing around it, measured in each round: {bare} us here. `kernel us` is the kernel's part of the CPU. `of NAME`
is a row's CPU divided by that of NAME in the same round.{missing}
""",
    "watching": """\
## Watching

Servers with metrics and access log beside the same without, in short pairs. `watching us` is the median of the
differences within the pairs, and half of them are between `from us` and `to us`.
""",
    "workers": """\
## Workers

`times one` compares throughput with that of one worker, and `CPU times one` the CPU of a request. `cores` is what the
server had of the machine, and `generator cores` what the load generator took. `least busy` is the CPU of the worker
that did least, as a part of an even share. `2 servers of one worker` are the control: they share nothing and get half
of the clients each, so what a request costs there beyond one worker is the machine's
([decision 301](../decisions/301-batches-of-workers-on-brief-connections.md)). In the last rows an open loop asks at
half of the most, as under Latency below, and one of two workers is stopped (SIGSTOP) for 100 ms, once a second.\
{missing}
""",
    "latency": """\
## Latency

An open loop, Poisson arrivals at 80 % of the most: each request counts from when it was due. Metrics and access log
are on. Percentiles are over all requests of all rounds of half a second, and `median p99.9 ms` is what half of the
rounds had at most: a core of a shared machine runs at a fraction of its speed for moments, and at 80 % of the most a
queue builds up each time ([decision 303](../decisions/303-latency-of-the-median-round.md)). `generator late ms` is what
the generator itself added at the 99.9th percentile: it uses few cores, so that is the machine. `server cores` is what
the server used of a core, `stolen cores` what the host of the virtual machine took, and `other cores` what all else
used, the kernel's own work included. `most differs` is by what part the most after a round differs from that before it,
in the worst round. A round is disturbed when that is more than a tenth, or when others used more than 0.2 cores; it is
measured again, as long as there are turns left. `disturbed` says how many of the rounds that are shown still were
([decision 295](../decisions/295-load-is-compared-with-the-most-on-both-sides.md)).
""",
    "threads": """\
## A second thread

Bare signatures of one process in one thread and in two, and a server with one worker whose second thread signs a share
of each batch, beside the same without it ([decision 287](../decisions/287-a-second-thread-signs-with-slow-keys.md)).
The load generator is on the same cores.
""",
    "remote": """\
## A signer that takes 10 ms

64 threads, waitress. `of ideal` compares with a server that costs nothing, on which 64 signatures are always in
progress. The clients are on the same cores. Four of the signatures are the signature and its verification.
""",
    "verification": """\
## Verification in one process

`bare verifications` compares with the signature check alone.
""",
    "commands": """\
## Commands

CPU from start to end. The unit is `python -c 'import cryptography.x509'`, without which no timestamp can be verified
in Python. `modules` is how many a command imports.
""",
    "start": """\
## Start and memory

From the command to the first token, and the memory of the largest process.
""",
}


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page: its table, and the values in its text."""

    name: str
    rows: Sequence[Row] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    """Why there are no rows."""

    def markdown(self) -> str:
        """Return the section as it is in the page."""
        if self.failure:
            return f"{_TEXTS[self.name].splitlines()[0]}\n\nNot measured: {self.failure}\n"
        columns = list(dict.fromkeys(name for row in self.rows for name in row.figures))
        lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for row in self.rows:
            cells = [number(row.figures[name]) if name in row.figures else "" for name in columns]
            lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
        return _TEXTS[self.name].format(**self.values) + "\n" + "\n".join(lines) + "\n"


def measure_servers(*, rounds: int, seconds: float) -> Section:
    """Measure our servers and those of others, by turns."""
    loads: dict[tuple[str, str], list[Load]] = {}
    bare: list[float] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tsa-bench-")))
        peers, missing = stack.enter_context(peer_servers(folder))
        running: dict[str, RunningServer] = {}
        for name, flags in OURS.items():
            running[name] = Server(*flags, environment=KEY_OF_SERVERS)
            stack.callback(running[name].close)
        running |= peers
        for round_number in range(rounds):
            progress(f"servers, round {round_number + 1} of {rounds}")
            bare.append(bare_signature_us(KIND))
            for case, (connections, headers) in CASES.items():
                for name, server in running.items():
                    load = server.load(WITH_CERTIFICATES, connections=connections, seconds=seconds, headers=headers)
                    loads.setdefault((case, name), []).append(load)
    rows = [
        _server_row(f"{name}, {case}", found, bare, {peer: loads[case, peer] for peer in peers if peer != name})
        for (case, name), found in loads.items()
    ]
    absent = "".join(f" {name} was not measured: {reason}." for name, reason in missing.items())
    return Section(name="servers", rows=rows, values={"bare": number(median(bare)), "missing": absent})


def _server_row(name: str, loads: Sequence[Load], bare: Sequence[float], others: Mapping[str, Sequence[Load]]) -> Row:
    figures = {
        "CPU us": median(load.cpu_us for load in loads),
        "bare signatures": median(load.cpu_us / unit for load, unit in zip(loads, bare, strict=True)),
        "kernel us": median(load.kernel_us for load in loads),
    }
    for peer, theirs in others.items():
        figures[f"of {peer}"] = median(load.cpu_us / other.cpu_us for load, other in zip(loads, theirs, strict=True))
    figures |= {
        "requests/s": median(load.per_second for load in loads),
        "p50 ms": median(load.p50_ms for load in loads),
        "p99 ms": median(load.p99_ms for load in loads),
        "errors": sum(load.errors for load in loads),
    }
    return Row(part="servers", name=name, figures=figures)


def _watching(*, rounds: int, seconds: float) -> Section:
    return Section(name="watching", rows=watching.run(pairs=2 * rounds, seconds=seconds / 2))


def _workers(*, rounds: int, seconds: float) -> Section:
    rows = scaling.scaling(count=rounds, seconds=seconds)
    try:
        rows += scaling.stopped(count=rounds, seconds=1.5 * seconds)
    except NoGenerator as error:
        return Section(name="workers", rows=rows, values={"missing": f" That was not measured: {error}."})
    return Section(name="workers", rows=rows, values={"missing": ""})


def _latency(*, rounds: int, seconds: float) -> Section:
    return Section(name="latency", rows=latency.run(count=8 * rounds, seconds=seconds / 2))


def _threads(*, rounds: int, seconds: float) -> Section:
    rows = second_thread.run(rounds=rounds, seconds=seconds / 20)
    return Section(name="threads", rows=[*rows, *second_thread.run_servers(rounds=rounds, seconds=seconds)])


def _remote(*, rounds: int, seconds: float) -> Section:
    bare: list[float] = []
    measured: dict[str, list[dict[str, float]]] = {"64 threads, 64 clients": [], "the same, the server on one CPU": []}
    for _ in range(rounds):
        bare.append(bare_signature_us(KIND))
        for (name, found), one_cpu in zip(measured.items(), (False, True), strict=True):
            progress(f"a signer that takes 10 ms, {name}")
            found.append(remote_signer.measure(64, 64, seconds, pause_ms=10, one_cpu=one_cpu))
    rows = []
    for name, found in measured.items():
        costs = [each["server_cpu_us"] for each in found]
        figures = {
            "CPU us": median(costs),
            "bare signatures": median(cost / unit for cost, unit in zip(costs, bare, strict=True)),
            "requests/s": median(each["requests_per_second"] for each in found),
            "of ideal": median(each["of_ideal"] for each in found),
            "p50 ms": median(each["p50_ms"] for each in found),
            "p99 ms": median(each["p99_ms"] for each in found),
        }
        rows.append(Row(part="remote", name=name, figures=figures))
    return Section(name="remote", rows=rows)


def _verification(*, rounds: int, **_: object) -> Section:
    rows = []
    for kind, readers in verify.run(quick=rounds < 5)["verify"].items():
        unit = readers["bare signature"]["microseconds"]
        for name, figures in readers.items():
            cost = figures["microseconds"]
            rows.append(
                Row(part="verify", name=f"{kind}, {name}", figures={"CPU us": cost, "bare verifications": cost / unit})
            )
    return Section(name="verification", rows=rows)


def _commands(*, rounds: int, **_: object) -> Section:
    return Section(name="commands", rows=commands.run(quick=rounds < 5))


def _start(*, rounds: int, **_: object) -> Section:
    return Section(name="start", rows=startup.run(quick=rounds < 5))


PARTS: dict[str, Callable[..., Section]] = {
    "servers": measure_servers,
    "watching": _watching,
    "workers": _workers,
    "latency": _latency,
    "threads": _threads,
    "remote": _remote,
    "verification": _verification,
    "commands": _commands,
    "start": _start,
}


def measured(name: str, *, rounds: int, seconds: float) -> Section:
    """Measure one part; a failure is told in its place, so that it costs no other part."""
    try:
        return PARTS[name](rounds=rounds, seconds=seconds)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        progress(f"{name} failed: {error}")
        return Section(name=name, failure=" ".join(str(error).split())[:300])


def page(sections: Sequence[Section], *, rounds: int) -> str:
    """Return the page in Markdown."""
    facts = {**machine(), "load average of the last five minutes": f"{os.getloadavg()[1]:.1f}"}
    about = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    head = _HEAD.format(date=datetime.now(UTC).date().isoformat(), rounds=rounds, machine=about)
    return "\n".join([head, *(section.markdown() for section in sections)])


def main() -> None:
    """Measure, and print or write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds  [5]")
    parser.add_argument("--seconds", type=float, default=2.0, help="of load in each round and row  [2]")
    parser.add_argument("--write", action="store_true", help="write docs/operate/measured.md")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone; may be given again")
    given = parser.parse_args()
    if not have_wrk():
        sys.exit("wrk is not installed (Debian: apt-get install wrk)")
    if given.write and given.only:
        sys.exit("--write writes a whole page; leave --only out")
    sections = [
        measured(name, rounds=given.rounds, seconds=given.seconds)
        for name in PARTS
        if not given.only or name in given.only
    ]
    text = page(sections, rounds=given.rounds)
    print(text)
    if given.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
