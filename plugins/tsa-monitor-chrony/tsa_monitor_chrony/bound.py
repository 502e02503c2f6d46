"""How far the system clock is off at most, by what chronyd's sources say, as long as most of them do not lie.

chronyd's own estimate is not that bound: chronyd selects by the point that most sources cover, and one source that lies
within the errors of the others can be that point, with an error as small as it likes (decision 182).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tsa_core.api import Agreement, ClockAnchor, agree
from tsa_monitor_chrony.chronyc import Report, Source
from tsa_monitor_chrony.looks import SPAN_SECONDS, Looks

_USABLE = frozenset("*+-x~")
"""Selected, combined, not combined, said to be wrong, too variable. Not `?`: chronyd takes nothing from it."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What the sources agree on: system clock minus true time at `anchor` is `offset`, give or take `uncertainty`.

    Both are in seconds. `agreed` is None when no majority agrees; its members are places in `heard`, which are the
    sources that count.
    """

    heard: Sequence[Source]
    anchor: ClockAnchor
    agreed: Agreement | None
    offset: float = 0.0
    uncertainty: float = 0.0


def counts(source: Source) -> bool:
    """Say whether a source has a vote: chronyd can use it, and has heard it lately."""
    return source.state in _USABLE and source.recent and source.age < SPAN_SECONDS


def bound_of(report: Report, looks: Looks, now: ClockAnchor, *, least: float) -> Bound:
    """Return what the sources that count agree on; no source counts as more certain than `least` seconds.

    A measurement that is older than a step of the clock may or may not know of it (chronyd's own steps it does), so its
    interval has room for both.
    """
    heard = [source for source in report.sources if counts(source)]
    anchor = looks.before(max((source.age for source in heard), default=0.0), now)
    intervals = []
    for source in heard:
        error = max(least, source.error + source.age * source.growth)
        back, forward = looks.moved_since(looks.before(source.age, now), now)
        intervals.append((source.offset - error + back, source.offset + error + forward))
    agreed = agree(intervals)
    if agreed is None:
        return Bound(heard=heard, anchor=anchor, agreed=None)
    # The system clock is on its way to chronyd's, which may be further off.
    offset = agreed.offset + report.tracking.offset
    way = max(0.0, abs(agreed.offset) - abs(offset))
    return Bound(
        heard=heard,
        anchor=anchor,
        agreed=agreed,
        offset=offset - anchor.moved(now),
        uncertainty=agreed.uncertainty + way + anchor.error + now.error,
    )
