"""Rounds of an open loop at a part of the most, and which of them a shared machine has left alone.

A machine that others use, or the host of a virtual one, is a third faster in one second than in the next. What was 80 %
of the most may then be more than all, and latency shows nothing but that. So the most is what the same generator gets,
when each connection asks as soon as it has its answer, right before and right after a run. A round is disturbed in
which the two differ, or others used the cores. It is measured again, as long as there are turns left. Within a round a
core may be slower for a moment all the same, so `median p99.9 ms` says what half of the rounds had at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from statistics import median

from bench import open_loop
from bench.measure import RunningServer
from bench.report import progress

_MOST_SECONDS = 0.5
_DIFFERENCE = 0.1
"""By what part the most after a run may differ from that before it."""
_OTHER_CORES = 0.2
"""What others may use of the cores: the kernel itself takes half of that for the network."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One run, between the two that tell the most."""

    before: open_loop.Run
    run: open_loop.Run
    after: open_loop.Run

    @property
    def difference(self) -> float:
        """By what part the most after the run differs from that before it."""
        return abs(self.after.latencies.per_second / self.before.latencies.per_second - 1)

    @property
    def other_cores(self) -> float:
        """How much of the cores others used, the host among them, in the run where that was most."""
        return max(each.other_cores + each.stolen_cores for each in (self.before, self.run, self.after))

    @property
    def quiet(self) -> bool:
        """Whether the machine was left to the server and the generator. No latency is looked at for that."""
        return self.difference <= _DIFFERENCE and self.other_cores <= _OTHER_CORES


def measure(
    server: RunningServer,
    *,
    part: float,
    seconds: float,
    connections: int,
    close: bool = False,
    during: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Round:
    """Measure a round at a part of the most, with something `during` the run."""

    def most() -> open_loop.Run:
        return open_loop.measure(server, rate=0, seconds=_MOST_SECONDS, connections=connections, close=close)

    before = most()
    rate = part * before.latencies.per_second
    with during():
        run = open_loop.measure(server, rate=rate, seconds=seconds, connections=connections, close=close)
    return Round(before=before, run=run, after=most())


def by_turns(cases: Mapping[str, Callable[[], Round]], *, rounds: int, turns: int, what: str) -> dict[str, list[Round]]:
    """Measure all cases by turns, and return so many rounds of each: quiet ones, and then the least disturbed.

    Cases that were disturbed are measured again, in so many `turns` together at most.
    """
    found: dict[str, list[Round]] = {name: [] for name in cases}
    for turn in range(turns):
        due = [name for name, each in found.items() if sum(one.quiet for one in each) < rounds]
        if due:
            progress(f"{what}, turn {turn + 1}, for {rounds} quiet rounds")
        for name in due:
            found[name].append(cases[name]())
    return {
        name: sorted(each, key=lambda one: (not one.quiet, one.difference + one.other_cores))[:rounds]
        for name, each in found.items()
    }


def figures(rounds: Sequence[Round]) -> dict[str, float]:
    """Return the figures of a row; percentiles are over all requests of all rounds."""
    runs = [each.run for each in rounds]
    return {
        **open_loop.figures([each.latencies for each in runs]),
        "median p99.9 ms": median(open_loop.figures([each.latencies])["p99.9 ms"] for each in runs),
        "server cores": median(each.server_cores for each in runs),
        "other cores": median(each.other_cores for each in runs),
        "stolen cores": median(each.stolen_cores for each in runs),
        "most differs": max(each.difference for each in rounds),
        "rounds": len(rounds),
        "disturbed": sum(not each.quiet for each in rounds),
    }
