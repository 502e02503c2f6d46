"""The charts of the page: SVG in the page's colours, without a script, and with no text of a stranger unescaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from math import floor, log10
from typing import Final

from tsa_core.paths.certificate import PathCertificate
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
    content = "".join(parts)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">{content}</svg>'
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, /, kind: str = "grid") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _bar(x: float, y: float, width: float, height: float, /, *, kind: str, title: str, radius: float = 2) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" rx="{radius:g}" '
        f'class="mark {kind}"><title>{escape(title)}</title></rect>'
    )


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
        parts.append(_text(_LEFT - 10, y + 15, area.value, anchor="end"))
        place = float(_LEFT)
        for kind in order:
            count = own.count(kind)
            if count:
                parts.append(
                    _bar(place, y + 3, count * scale - 2, 16, kind=kind, title=f"{area.value}: {count} {kind}")
                )
                place += count * scale
        parts.append(_text(place + 6, y + 15, str(len(own)), kind="value"))
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
        parts += [_line(44, y, WIDTH, y), _text(38, y + 4, f"{number * step:g}", anchor="end")]
    width = (WIDTH - 48) / len(exchanges)
    for number, each in enumerate(exchanges):
        milliseconds = each.seconds * 1000
        size = (base - 14) * milliseconds / ceiling
        kind, word = _reception(each)
        title = f"{each.case.title}: {milliseconds:.0f} ms, {word}"
        parts.append(
            _bar(48 + number * width, base - size, width - 1.5, max(size, 1), kind=kind, title=title, radius=1)
        )
    parts += [_line(44, base, WIDTH, base, "zero"), _text(48, base + 20, "milliseconds, request by request")]
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
        parts.append(f'<rect x="{left:.1f}" y="4" width="{right - left:.1f}" height="{bottom:.1f}" class="band"/>')
    step = _step(reach)
    for number in range(-int(reach / step), int(reach / step) + 1):
        seconds = number * step
        parts += [_line(x(seconds), 4, x(seconds), bottom + 4, "grid" if number else "zero")]
        parts.append(_text(x(seconds), bottom + 20, f"{seconds:+g} s" if number else "0", anchor="middle"))
    agreed = max(bracket[0] for bracket in brackets), min(bracket[1] for bracket in brackets)
    if agreed[0] <= agreed[1]:
        left, width = x(agreed[0]), max(x(agreed[1]) - x(agreed[0]), 1.5)
        title = f"all agree: {agreed[0]:+.3f} to {agreed[1]:+.3f} s"
        parts.append(
            f'<rect x="{left:.1f}" y="4" width="{width:.1f}" height="{bottom:.1f}" class="agreed">'
            f"<title>{escape(title)}</title></rect>"
        )
    for number, (stamp, bracket) in enumerate(zip(stamps, brackets, strict=True)):
        least, most = bracket
        inside = not accuracy or (least <= accuracy and most >= -accuracy)
        y = 8 + row * number
        title = f"{stamp.name}: {least:+.3f} to {most:+.3f} s"
        parts.append(
            _bar(
                x(least),
                y,
                x(most) - x(least),
                row * 0.6,
                kind="note" if inside else "error",
                title=title,
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
        parts.append(_text(6, y + 14, _short(_common_name(each)), kind="value"))
        parts.append(_text(WIDTH - 6, y + 14, f"{each.not_before:%Y-%m-%d} to {each.not_after:%Y-%m-%d}", anchor="end"))
        title = f"{each.name}: {days} days left"
        parts.append(
            _bar(
                x(each.not_before), y + 21, x(each.not_after) - x(each.not_before), 10, kind=kind, title=title, radius=5
            )
        )
    bottom = len(path) * 44
    parts += [_line(x(now), 18, x(now), bottom, "zero"), _text(x(now), bottom + 14, "today", anchor="middle")]
    return _chart(bottom + 18, parts, "Certificates")


def _common_name(certificate: PathCertificate) -> str:
    from tsa_core.paths.errors import printable
    from tsa_core.paths.extensions import PARSING_ERRORS

    try:
        parts = [str(each.value) for each in certificate.certificate.subject]
    except PARSING_ERRORS:
        return "a name that cannot be read"
    return printable(parts[-1]) if parts else "no name"


def _short(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:29]}…"


def badge(letter: str, share: float) -> str:
    """Return the grade in a ring that is closed as far as checks hold."""
    around = 2 * 3.14159265 * 56
    return (
        '<svg class="badge" viewBox="0 0 132 132" role="img" aria-label="Grade '
        f'{escape(letter)}"><circle cx="66" cy="66" r="56" fill="none" stroke="var(--well)" stroke-width="12"/>'
        f'<circle cx="66" cy="66" r="56" fill="none" class="ring" stroke-width="12" stroke-linecap="round" '
        f'stroke-dasharray="{around * share:.1f} {around:.1f}" transform="rotate(-90 66 66)"/>'
        f'<text x="66" y="67" class="tone">{escape(letter)}</text></svg>'
    )
