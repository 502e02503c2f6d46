"""The charts of the page: SVG in the page's colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from math import floor, log10, pi
from typing import Final

from tsa_core.documents.markup import drawing, line, rect, short, text
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.extensions import PARSING_ERRORS
from tsa_core.probe.check import Area, Outcome, Result, Severity
from tsa_core.probe.evidence import Evidence, Exchange, offset_of

WIDTH: Final = 500
_LEFT: Final = 84
_RIGHT: Final = 34
_ROW: Final = 26
_MAX_ROWS: Final = 60


def tone(result: Result) -> str:
    """Return the class that colours a result."""
    if result.fails:
        return result.check.severity.value
    return "holds" if result.outcome is Outcome.HOLDS else "unseen"


def _chart(height: float, parts: Iterable[str], label: str) -> str:
    return drawing(WIDTH, height, parts, label, kind="chart")


def _bar(x: float, y: float, width: float, height: float, /, *, kind: str, hint: str, radius: float = 2) -> str:
    return rect(x, y, max(width, 0.5), height, kind=f"mark {kind}", hint=hint, radius=radius)


def areas(results: Sequence[Result]) -> str:
    """Return how the checks of each area came out, as stacked bars."""
    present = [area for area in Area if any(each.check.area is area for each in results)]
    most = max((sum(1 for each in results if each.check.area is area) for area in present), default=1)
    scale = (WIDTH - _LEFT - _RIGHT) / most
    order = ["holds", *(severity.value for severity in reversed(Severity)), "unseen"]
    parts: list[str] = []
    for row, area in enumerate(present):
        own = [tone(each) for each in results if each.check.area is area]
        y = row * _ROW
        parts.append(text(_LEFT - 10, y + 15, area.value, anchor="end"))
        place = float(_LEFT)
        for kind in order:
            count = own.count(kind)
            if count:
                parts.append(_bar(place, y + 3, count * scale - 2, 16, kind=kind, hint=f"{area.value}: {count} {kind}"))
                place += count * scale
        parts.append(text(place + 6, y + 15, str(len(own)), kind="value"))
    return _chart(len(present) * _ROW, parts, "Checks by area")


def times(exchanges: Sequence[Exchange]) -> str:
    """Return how long each request took, in their order."""
    if not exchanges:
        return ""
    height, base = 190.0, 160.0
    top = max(max(each.seconds for each in exchanges) * 1000, 1.0)
    step = _step(top)
    parts: list[str] = []
    ceiling = step * -(-top // step)
    for number in range(int(ceiling / step) + 1):
        y = base - (base - 14) * number * step / ceiling
        parts += [line(44, y, WIDTH, y), text(38, y + 4, f"{number * step:g}", anchor="end")]
    width = (WIDTH - 48) / len(exchanges)
    for number, each in enumerate(exchanges):
        milliseconds = each.seconds * 1000
        size = (base - 14) * milliseconds / ceiling
        kind, word = _reception(each)
        hint = f"{each.case.title}: {milliseconds:.0f} ms, {word}"
        parts.append(_bar(48 + number * width, base - size, width - 1.5, max(size, 1), kind=kind, hint=hint, radius=1))
    parts += [line(44, base, WIDTH, base, kind="zero"), text(48, base + 20, "milliseconds, request by request")]
    return _chart(height, parts, "Time to answer")


def _reception(exchange: Exchange) -> tuple[str, str]:
    if exchange.answer is None:
        return "critical", "no answer"
    if exchange.is_granted:
        return "holds", "granted"
    if exchange.reply is not None:
        return "note", "refused"
    return "unseen", f"HTTP {exchange.answer.status}"


def _step(top: float) -> float:
    """Return a round distance between at most five grid lines."""
    rough = top / 4
    unit = 10.0 ** floor(log10(rough))
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)


def clock(evidence: Evidence) -> str:
    """Return, for each token, the interval in which the authority's clock was beside this one's, and the accuracy."""
    stamps = evidence.stamps[:_MAX_ROWS]
    if not stamps:
        return ""
    brackets = [tuple(side.total_seconds() for side in offset_of(stamp)) for stamp in stamps]
    accuracies = [stamp.info.accuracy.microseconds / 1e6 for stamp in stamps if stamp.info.accuracy is not None]
    accuracy = min(accuracies, default=0.0)
    reach = max(0.001, accuracy, *(abs(side) for bracket in brackets for side in bracket)) * 1.15
    row = min(7.0, 150 / len(stamps))
    bottom = 12 + row * len(stamps)
    middle, half = WIDTH / 2, WIDTH / 2 - 8

    def x(seconds: float) -> float:
        return middle + half * max(-1.0, min(1.0, seconds / reach))

    parts: list[str] = []
    if accuracy:
        left, right = x(-accuracy), x(accuracy)
        parts.append(rect(left, 4, right - left, bottom, kind="band"))
    step = _step(reach)
    for number in range(-int(reach / step), int(reach / step) + 1):
        seconds = number * step
        parts += [line(x(seconds), 4, x(seconds), bottom + 4, kind="grid" if number else "zero")]
        parts.append(text(x(seconds), bottom + 20, f"{seconds:+g} s" if number else "0", anchor="middle"))
    agreed = max(bracket[0] for bracket in brackets), min(bracket[1] for bracket in brackets)
    if agreed[0] <= agreed[1]:
        left, width = x(agreed[0]), max(x(agreed[1]) - x(agreed[0]), 1.5)
        hint = f"all agree: {agreed[0]:+.3f} to {agreed[1]:+.3f} s"
        parts.append(rect(left, 4, width, bottom, kind="agreed", hint=hint))
    for number, (stamp, bracket) in enumerate(zip(stamps, brackets, strict=True)):
        least, most = bracket
        inside = not accuracy or (least <= accuracy and most >= -accuracy)
        y = 8 + row * number
        hint = f"{stamp.name}: {least:+.3f} to {most:+.3f} s"
        parts.append(
            _bar(
                x(least),
                y,
                x(most) - x(least),
                row * 0.6,
                kind="note" if inside else "error",
                hint=hint,
                radius=row * 0.3,
            )
        )
    return _chart(bottom + 26, parts, "Clock offset, token by token")


def lifetimes(path: Sequence[PathCertificate], now: datetime) -> str:
    """Return how long each certificate of a path is valid, with today."""
    if not path:
        return ""
    begin = min(*(each.not_before for each in path), now)
    end = max(*(each.not_after for each in path), now)
    whole = max((end - begin).total_seconds(), 1.0)

    def x(moment: datetime) -> float:
        return 6 + (WIDTH - 12) * (moment - begin).total_seconds() / whole

    parts: list[str] = []
    for row, each in enumerate(path):
        y = row * 44
        days = (each.not_after - now).days
        kind = "critical" if days < 0 or each.not_before > now else "warning" if not row and days < 30 else "holds"
        parts.append(text(6, y + 14, short(_common_name(each), 30), kind="value"))
        parts.append(text(WIDTH - 6, y + 14, f"{each.not_before:%Y-%m-%d} to {each.not_after:%Y-%m-%d}", anchor="end"))
        hint = f"{each.name}: {days} days left"
        parts.append(
            _bar(x(each.not_before), y + 21, x(each.not_after) - x(each.not_before), 10, kind=kind, hint=hint, radius=5)
        )
    bottom = len(path) * 44
    parts += [line(x(now), 18, x(now), bottom, kind="zero"), text(x(now), bottom + 14, "today", anchor="middle")]
    return _chart(bottom + 18, parts, "Certificates")


def _common_name(certificate: PathCertificate) -> str:
    try:
        parts = [str(each.value) for each in certificate.certificate.subject]
    except PARSING_ERRORS:
        return "a name that cannot be read"
    return parts[-1] if parts else "no name"


def badge(letter: str, share: float) -> str:
    """Return the grade in a ring that is closed as far as checks hold."""
    around = 2 * pi * 56
    circle = '<circle cx="66" cy="66" r="56" fill="none" stroke-width="12"'
    ring = f'stroke-dasharray="{around * share:.1f} {around:.1f}" stroke-linecap="round" transform="rotate(-90 66 66)"'
    parts = (
        f'{circle} class="well"/>',
        f'{circle} class="ring" {ring}/>',
        text(66, 67, letter, anchor="middle", kind="tone"),
    )
    return drawing(132, 132, parts, f"Grade {letter}", kind="badge")
