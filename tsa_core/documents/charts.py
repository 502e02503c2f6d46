"""Charts as inline SVG, whose colours the page's style gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from tsa_core.documents.blocks import Bars, Span, Timeline

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


def bars(chart: Bars, shown: Callable[[str], str]) -> str:
    """Return stacked bars, one for each label; `shown` escapes a text."""
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
            hint = shown(f"{label}, {chart.series[number]}: {counts[place]:,}")
            parts.append(
                f'<rect class="s{number % _COLOURS}" x="{x + slot * 0.15:.1f}" y="{base:.1f}" '
                f'width="{slot * 0.7:.1f}" height="{height:.1f}"><title>{hint}</title></rect>'
            )
        if place % every == 0:
            parts.append(_text(x + slot / 2, _TOP + _PLOT_HEIGHT + 18, shown(label), "middle"))
    height = _TOP + _PLOT_HEIGHT + 28
    for number, name in enumerate(chart.series):
        x, y = _LEFT + (number % 4) * 200, height + (number // 4) * 20
        parts.append(f'<rect class="s{number % _COLOURS}" x="{x}" y="{y}" width="12" height="12"/>')
        parts.append(_text(x + 18, y + 11, shown(_short(name)), "start"))
    return _figure(chart.title, parts, height + 20 * -(-len(chart.series) // 4), shown)


def timeline(chart: Timeline, shown: Callable[[str], str]) -> str:
    """Return a row for each label, with its spans; those that are short are drawn three pixels wide."""
    whole = max(1.0, (chart.end - chart.begin).total_seconds())
    scale = (_WIDTH - _LABELS - 10) / whole
    height = len(chart.rows) * _ROW
    parts = []
    for moment in _months(chart.begin, chart.end):
        x = _LABELS + (moment - chart.begin).total_seconds() * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height}"/>')
        parts.append(_text(x, height + 16, f"{moment:%Y-%m}", "middle", "quiet"))
    for number, (label, spans) in enumerate(chart.rows):
        y = number * _ROW
        parts.append(_text(0, y + 18, shown(_short(label)), "start"))
        parts.append(f'<rect class="band" x="{_LABELS}" y="{y + 5}" width="{_WIDTH - _LABELS - 10}" height="16"/>')
        parts += [_span(span, chart, scale, y, shown) for span in spans]
    return _figure(chart.title, parts, height + 24, shown)


def _span(span: Span, chart: Timeline, scale: float, y: int, shown: Callable[[str], str]) -> str:
    begin, end = max(span.begin, chart.begin), min(span.end, chart.end)
    x = _LABELS + (begin - chart.begin).total_seconds() * scale
    width = max(3.0, (end - begin).total_seconds() * scale)
    hint = f"<title>{shown(span.hint)}</title>"
    return f'<rect class="{span.tone}" x="{x:.1f}" y="{y + 5}" width="{width:.1f}" height="16">{hint}</rect>'


def _grid(top: int) -> Iterator[str]:
    for quarter in range(5):
        y = _TOP + _PLOT_HEIGHT * (1 - quarter / 4)
        yield f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH}" y2="{y:.1f}"/>'
        yield _text(_LEFT - 8, y + 4, f"{top * quarter // 4:,}", "end", "quiet")


def _figure(title: str, parts: list[str], height: int, shown: Callable[[str], str]) -> str:
    drawing = "\n".join(parts)
    return (
        f'<figure><figcaption>{shown(title)}</figcaption>\n<svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{shown(title)}">\n{drawing}\n</svg></figure>'
    )


def _text(x: float, y: float, text: str, anchor: str, mark: str = "") -> str:
    named = f' class="{mark}"' if mark else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _short(text: str) -> str:
    return text if len(text) <= _LABEL_LETTERS else f"{text[: _LABEL_LETTERS - 1]}…"


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
