"""The authority's clock beside the prober's: between sending and receiving, genTime was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import pairwise

from tsa_core.client.timeliness import DEFAULT_CLOCK_WINDOW
from tsa_core.probe.check import Area, At, Severity, check
from tsa_core.probe.evidence import DoesNotApply, Evidence, Stamp, Unseen, offset_of


@check(
    "clock-window",
    area=Area.CLOCK,
    rules="V6 S1",
    severity=Severity.CRITICAL,
    title="genTime is within five minutes of this machine's clock",
    meaning="One of the two clocks is wrong; clients refuse such tokens (RFC 3161 2.2).",
)
def clock_window(evidence: Evidence) -> Iterator[str | At]:
    """Judge every token."""
    yield from _too_far(evidence.tokens(), lambda _: DEFAULT_CLOCK_WINDOW)


def _too_far(stamps: Sequence[Stamp], allowed: Callable[[Stamp], timedelta]) -> Iterator[str]:
    """Yield how far the worst token is beyond what is allowed for it, and how many are."""
    beyond = []
    for stamp in stamps:
        least, most = offset_of(stamp)
        limit = allowed(stamp)
        if least > limit or most < -limit:
            beyond.append((max(least, -most), least if least > limit else most, limit))
    if beyond:
        _, offset, limit = max(beyond)
        yield (
            f"{len(beyond)} of {len(stamps)} tokens, the worst by {offset.total_seconds():+.3f} s, where "
            f"{limit.total_seconds():g} s are allowed"
        )


@check(
    "clock-accuracy",
    area=Area.CLOCK,
    rules="S1 S24 V12",
    severity=Severity.ERROR,
    title="genTime is as accurate as it says",
    meaning="A time outside of the stated accuracy is a false statement.",
    needs="plain repeat-1",
)
def clock_accuracy(evidence: Evidence) -> Iterator[str | At]:
    """Judge every token that states its accuracy, with the bound of this machine's clock."""
    stated = [each for each in evidence.tokens() if each.info.accuracy is not None]
    if not stated:
        raise DoesNotApply("no accuracy is stated")
    if evidence.clock_bound is None:
        raise Unseen("how far this machine's clock may be off is not known; --clock-bound says it")
    bound = timedelta(seconds=evidence.clock_bound)
    yield from _too_far(
        stated, lambda stamp: bound + (stamp.info.accuracy.duration if stamp.info.accuracy else timedelta(0))
    )


@check(
    "clock-forward",
    area=Area.CLOCK,
    rules="S1 S26",
    severity=Severity.WARNING,
    title="genTime does not go back",
    meaning="A clock that is set back makes later tokens look earlier; several servers behind one address may differ.",
    needs="plain bare repeat-1 repeat-2",
)
def clock_forward(evidence: Evidence) -> Iterator[str | At]:
    """Judge the times of tokens in the order in which they were asked for."""
    stamps = evidence.tokens()
    if len(stamps) < 2:
        raise Unseen("fewer than two tokens came")
    for before, after in pairwise(stamps):
        if after.info.gen_time < before.info.gen_time:
            back = before.info.gen_time - after.info.gen_time
            yield At(after.name, f"{back.total_seconds():g} s before {before.name}")
