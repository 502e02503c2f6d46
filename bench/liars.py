"""Time servers that lie, of every number and size, against a simulated truth: `python -m bench.liars [--write]`.

Each round, the clock is wrong by up to 1.5 times the accuracy that tokens state. An honest server tells an interval
that holds the truth, up to 1.4 times the accuracy wide to each side. All liars agree on a clock that is less wrong than
it is, by the size of their lie, and claim to be exact; those of the size "any" say what the honest ones can hardly
contradict: whatever is nearest to a right clock in the most honest intervals. A token leaves when the bound is within
the accuracy; it is outside when the clock is not. Two rules are compared: the region with the most votes, as it was
before decision 160, and the hull of what a majority covers, which is `tsa_core.api.agree` itself. By the hull, tokens
also state the bound itself (`accuracy = "measured"`), and are outside when the clock is off by more than that.

Exit code 1 when a token is outside by the rule of now, or its measured accuracy, although most servers are honest.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from bench.faults import page
from tsa_core.api import agree

Interval: TypeAlias = tuple[float, float]
Rule: TypeAlias = Callable[[Sequence[Interval]], Interval | None]

ACCURACY = 1.0
SERVERS = (3, 4, 5, 7)
SIZES: dict[str, float | None] = {"1 ms": 0.001, "10 ms": 0.01, "0.1 s": 0.1, "0.5 s": 0.5, "10 s": 10.0, "any": None}
LIARS_DISTANCE = 0.0001


def most_votes(intervals: Sequence[Interval]) -> Interval | None:
    """Return the region with the most votes, if they are more than half: Marzullo's algorithm, as it was here."""
    edges = sorted([(low, 0) for low, _ in intervals] + [(high, 1) for _, high in intervals])
    best = count = 0
    region = (0.0, 0.0)
    for point, ends in edges:
        if not ends:
            count += 1
            if count > best:
                best, region = count, (point, point)
            continue
        if count == best:
            region = region[0], point
        count -= 1
    return region if 2 * best > len(intervals) else None


def hull(intervals: Sequence[Interval]) -> Interval | None:
    """Return what the monitors believe now."""
    agreed = agree(intervals)
    return None if agreed is None else (agreed.low, agreed.high)


RULES: tuple[Rule, Rule] = (most_votes, hull)


@dataclass
class Count:
    """Tokens that left by each rule, and those of them that were outside the accuracy."""

    issued: list[int] = field(default_factory=lambda: [0, 0])
    outside: list[int] = field(default_factory=lambda: [0, 0])
    outside_measured: int = 0

    def add(self, error: float, intervals: Sequence[Interval]) -> None:
        """Count one round."""
        for place, rule in enumerate(RULES):
            bound = rule(intervals)
            if bound is None or (stated := max(-bound[0], bound[1])) > ACCURACY:
                continue
            self.issued[place] += 1
            self.outside[place] += abs(error) > ACCURACY
            if rule is hull:
                self.outside_measured += abs(error) > stated


def simulate(servers: int, liars: int, size: float | None, *, rounds: int, seed: int) -> Count:
    """Return what became of so many rounds."""
    chance = random.Random(f"{seed} {servers} {liars} {size}")
    count = Count()
    for _ in range(rounds):
        error = chance.uniform(-1.5, 1.5) * ACCURACY
        honest = []
        for _ in range(servers - liars):
            distance = chance.uniform(0.01, 1.4) * ACCURACY
            middle = error + chance.uniform(-0.999, 0.999) * distance
            honest.append((middle - distance, middle + distance))
        lie = _nearest_to_right(honest) if size is None else error - size if error > 0 else error + size
        count.add(error, [*honest, *[(lie - LIARS_DISTANCE, lie + LIARS_DISTANCE)] * liars])
    return count


def _nearest_to_right(honest: Sequence[Interval]) -> float:
    region = most_votes(honest) or (0.0, 0.0)
    return min(max(0.0, region[0]), region[1])


def table(*, rounds: int, seed: int) -> tuple[str, int]:
    """Return the figures as a table, and how many tokens were outside although most servers were honest."""
    lines = [
        f"| servers | of them lie | {' | '.join(f'by {size}' for size in SIZES)} | tokens |",
        f"|---|---|{'---|' * (len(SIZES) + 1)}",
    ]
    broken = 0
    for servers in SERVERS:
        for liars in range(servers + 1):
            counts = [simulate(servers, liars, size, rounds=rounds, seed=seed) for size in SIZES.values()]
            cells = [f"{count.outside[0]:,} / {count.outside[1]:,} / {count.outside_measured:,}" for count in counts]
            issued = [sum(count.issued[place] for count in counts) for place in (0, 1)]
            minority = 2 * liars < servers
            broken += sum(count.outside[1] + count.outside_measured for count in counts) if minority else 0
            who = f"{liars}" if minority else f"{liars}, no minority"
            lines.append(f"| {servers} | {who} | {' | '.join(cells)} | {issued[0]:,} / {issued[1]:,} |")
    return "\n".join(lines) + "\n", broken


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or write it into docs/operate/faults.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000, help="rounds for each cell")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write it into docs/operate/faults.md")
    options = parser.parse_args(arguments)
    text, broken = table(rounds=options.rounds, seed=options.seed)
    print(
        f"tokens outside the stated accuracy of {ACCURACY:g} s in {options.rounds:,} rounds, by most votes and by hull;"
    )
    print("outside the measured accuracy, by hull\n")
    print(text)
    if options.write:
        page.put("liars", text)
    print(f"outside although most servers are honest: {broken}")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
