"""Charts as inline SVG, whose colours the page's style gives."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from tsa_core.documents.blocks import Bars, Span, Timeline
from tsa_core.documents.markup import drawing, line, rect, short, shown, text

_WIDTH: Final = 900
_LEFT: Final = 80
_PLOT_HEIGHT: Final = 180
_TOP: Final = 12
_ROW: Final = 26
_LABELS: Final = 210
_COLOURS: Final = 6
_LABEL_LETTERS: Final = 32
_MOST_TICKS: Final = 12
_MOST_MONTHS: Final = 7


def bars(chart: Bars) -> str:
    """Return stacked bars, one for each label."""
    highest = max((sum(counts[place] for counts in chart.counts) for place in range(len(chart.labels))), default=0)
    top = _round_up(highest)
    slot = (_WIDTH - _LEFT) / len(chart.labels)
    every = max(1, -(-len(chart.labels) // _MOST_TICKS))
    parts = list(_grid(top))
    for place, label in enumerate(chart.labels):
        x, base = _LEFT + place * slot, float(_TOP + _PLOT_HEIGHT)
        for number, counts in enumerate(chart.counts):
            height = counts[place] / top * _PLOT_HEIGHT
            base -= height
            hint = f"{label}, {chart.series[number]}: {counts[place]:,}"
            parts.append(rect(x + slot * 0.15, base, slot * 0.7, height, kind=_colour(number), hint=hint))
        if place % every == 0:
            parts.append(text(x + slot / 2, _TOP + _PLOT_HEIGHT + 18, label, anchor="middle"))
    height = _TOP + _PLOT_HEIGHT + 28
    for number, name in enumerate(chart.series):
        x, y = _LEFT + (number % 4) * 200, height + (number // 4) * 20
        parts += [rect(x, y, 12, 12, kind=_colour(number)), text(x + 18, y + 11, short(name, _LABEL_LETTERS))]
    return _figure(chart.title, parts, height + 20 * -(-len(chart.series) // 4))


def timeline(chart: Timeline) -> str:
    """Return a row for each label, with its spans; those that are short are drawn three pixels wide."""
    whole = max(1.0, (chart.end - chart.begin).total_seconds())
    scale = (_WIDTH - _LABELS - 10) / whole
    height = len(chart.rows) * _ROW
    parts = []
    for moment in _months(chart.begin, chart.end):
        x = _LABELS + (moment - chart.begin).total_seconds() * scale
        parts += [line(x, 0, x, height), text(x, height + 16, f"{moment:%Y-%m}", anchor="middle", kind="quiet")]
    for number, (label, spans) in enumerate(chart.rows):
        y = number * _ROW
        parts.append(text(0, y + 18, short(label, _LABEL_LETTERS)))
        parts.append(rect(_LABELS, y + 5, _WIDTH - _LABELS - 10, 16, kind="band"))
        parts += [_span(span, chart, scale, y) for span in spans]
    return _figure(chart.title, parts, height + 24)


def _span(span: Span, chart: Timeline, scale: float, y: int) -> str:
    begin, end = max(span.begin, chart.begin), min(span.end, chart.end)
    x = _LABELS + (begin - chart.begin).total_seconds() * scale
    return rect(x, y + 5, max(3.0, (end - begin).total_seconds() * scale), 16, kind=span.tone, hint=span.hint)


def _grid(top: int) -> Iterator[str]:
    for quarter in range(5):
        y = _TOP + _PLOT_HEIGHT * (1 - quarter / 4)
        yield line(_LEFT, y, _WIDTH, y)
        yield text(_LEFT - 8, y + 4, f"{top * quarter // 4:,}", anchor="end", kind="quiet")


def _figure(title: str, parts: list[str], height: int) -> str:
    return f"<figure><figcaption>{shown(title)}</figcaption>\n{drawing(_WIDTH, height, parts, title)}</figure>"


def _colour(number: int) -> str:
    return f"s{number % _COLOURS}"


def _round_up(highest: int) -> int:
    """Return the least of 4, 8, 12, 20, 40, 80 and so on that is not below a count; its quarters are whole."""
    scale = 1
    while True:
        for step in (4, 8, 12, 20):
            if highest <= step * scale:
                return step * scale
        scale *= 10


def _months(begin: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the first moments of months within a time, or of some of them where there are many; not its end."""
    months = (end.year - begin.year) * 12 + end.month - begin.month
    every = max(1, -(-months // _MOST_MONTHS))
    moment = begin.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    number = 0
    while moment < end:
        if moment >= begin and number % every == 0:
            yield moment
        moment = (moment + timedelta(days=32)).replace(day=1)
        number += 1
