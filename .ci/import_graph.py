"""Draws which room of tsa_core imports which, as docs/reference/import-graph.svg (`make import-graph`).

The imports are read from the source; nothing is imported. An arrow that follows from others is left out, or the picture
would be all arrows: one from `cli` to `hosting` and one from `hosting` to `http` say that `cli` may use `http`.
A circle has no layers to be drawn in: it is named, and the exit code is 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

ROOT = Path(__file__).resolve().parent.parent
DRAWING = ROOT / "docs" / "reference" / "import-graph.svg"

BOX_WIDTH, BOX_HEIGHT = 116, 34
COLUMN, BEND, ROW = 150, 30, 92
MARGIN = 24
SWEEPS = 20

Graph = dict[str, set[str]]
Point = tuple[float, float]


def rooms(package: str = "tsa_core") -> Graph:
    """Return each room of the package with the rooms that it imports."""
    graph = grimp.build_graph(package)
    names = sorted(graph.find_children(package))
    return {
        name.removeprefix(f"{package}."): {
            other.removeprefix(f"{package}.")
            for other in names
            if other != name and graph.direct_import_exists(importer=name, imported=other, as_packages=True)
        }
        for name in names
    }


def layers(graph: Graph) -> list[list[str]]:
    """Return the rooms from top to bottom, each above all that it imports; raises CycleError for a circle."""
    depth: dict[str, int] = {}
    for room in TopologicalSorter(graph).static_order():
        depth[room] = 1 + max((depth[below] for below in graph[room]), default=-1)
    found: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for room in sorted(depth):
        found[-1 - depth[room]].append(room)
    return found


def without_implied(graph: Graph) -> Graph:
    """Return the graph without the arrows that follow from others (the transitive reduction)."""

    def reachable(room: str) -> set[str]:
        found: set[str] = set()
        for below in graph[room]:
            found |= {below} | reachable(below)
        return found

    return {
        room: {below for below in belows if not any(below in reachable(other) for other in belows - {below})}
        for room, belows in graph.items()
    }


def with_bends(rows: list[list[str]], arrows: Graph) -> dict[tuple[str, str], list[str]]:
    """Return the stations of each arrow from row to row; where an arrow passes a row, `rows` gets a bend for it."""
    row_of = {room: index for index, row in enumerate(rows) for room in row}
    stations: dict[tuple[str, str], list[str]] = {}
    for room, belows in sorted(arrows.items()):
        for below in sorted(belows):
            bends = [f"{room}>{below}@{index}" for index in range(row_of[room] + 1, row_of[below])]
            for index, bend in enumerate(bends, row_of[room] + 1):
                rows[index].append(bend)
            stations[room, below] = [room, *bends, below]
    return stations


def arranged(rows: list[list[str]], ways: Iterable[list[str]]) -> dict[str, Point]:
    """Return the centre of each room and bend in pixels, near to those with which it has arrows."""
    neighbours: dict[str, list[str]] = {station: [] for row in rows for station in row}
    for way in ways:
        for one, other in pairwise(way):
            neighbours[one].append(other)
            neighbours[other].append(one)
    middle: dict[str, float] = {}

    def place(row: list[str]) -> None:
        widths = [BEND if "@" in station else COLUMN for station in row]
        left = -sum(widths) / 2
        for station, width in zip(row, widths, strict=True):
            middle[station] = left + width / 2
            left += width

    def pull(station: str) -> tuple[float, str]:
        near = [middle[other] for other in neighbours[station]]
        return sum(near) / len(near), station

    for row in rows:
        place(row)
    for _ in range(SWEEPS):
        for row in [*rows, *reversed(rows)]:
            row.sort(key=pull)
            place(row)
    leftmost = min(middle.values()) - COLUMN / 2
    return {
        station: (MARGIN + middle[station] - leftmost, MARGIN + BOX_HEIGHT / 2 + index * ROW)
        for index, row in enumerate(rows)
        for station in row
    }


_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"
 aria-label="Which room of tsa_core imports which">
<style>
rect {{ fill: #f4f6fb; stroke: #4a5a80 }}
text {{ font: 14px sans-serif; text-anchor: middle; fill: #1c2540 }}
.arrow {{ fill: none; stroke: #7a88a8; stroke-width: 1.3 }}
</style>
<defs>
<marker id="head" viewBox="0 0 8 8" refX="3" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0,0 L8,4 L0,8 z" fill="#7a88a8"/>
</marker>
</defs>
<rect width="{width}" height="{height}" style="fill: #ffffff; stroke: none"/>"""


def _arrow(points: list[Point]) -> str:
    """Return a line through the points, each of which it meets upright."""
    curve = f"M{points[0][0]:g},{points[0][1]:g}"
    for (x1, y1), (x2, y2) in pairwise(points):
        half = (y1 + y2) / 2
        curve += f" C{x1:g},{half:g} {x2:g},{half:g} {x2:g},{y2:g}"
    return f'<path class="arrow" d="{curve}" marker-end="url(#head)"/>'


def drawing(graph: Graph) -> str:
    """Return the graph as SVG, the same text for the same graph."""
    rows = layers(graph)
    ways = with_bends(rows, without_implied(graph))
    place = arranged(rows, ways.values())
    width = max(x for x, _ in place.values()) + COLUMN / 2 + MARGIN
    height = 2 * MARGIN + (len(rows) - 1) * ROW + BOX_HEIGHT
    lines = [_HEAD.format(width=f"{width:g}", height=height)]
    for (room, _), way in ways.items():
        leaving = sorted((place[other[1]], end) for (start, end), other in ways.items() if start == room)
        shift = leaving.index((place[way[1]], way[-1])) - (len(leaving) - 1) / 2
        points = [place[station] for station in way]
        points[0] = (points[0][0] + 14 * shift, points[0][1] + BOX_HEIGHT / 2)
        points[-1] = (points[-1][0], points[-1][1] - BOX_HEIGHT / 2 - 5)
        lines.append(_arrow(points))
    for room in sorted(graph):
        x, y = place[room]
        left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
        lines.append(f'<rect x="{left:g}" y="{top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>')
        lines.append(f'<text x="{x:g}" y="{y + 5:g}">{escape(room)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def circle(error: CycleError) -> str:
    """Return the circle in words."""
    names: Iterable[str] = error.args[1]
    return ", ".join(f"{importer} imports {imported}" for imported, importer in pairwise(names))


def main() -> int:
    """Write the drawing."""
    graph: Mapping[str, set[str]] = rooms()
    try:
        text = drawing(dict(graph))
    except CycleError as error:
        print(f"a circle cannot be drawn: {circle(error)}", file=sys.stderr)  # noqa: T201 - a command's own output
        return 1
    DRAWING.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
