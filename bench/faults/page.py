"""The table of faults in docs/operate/faults.md: one section for each kind, one row for each fault."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operate" / "faults.md"
HEADER = "| fault | what was done | what a client saw | what the operator saw | healed after |\n|---|---|---|---|---|\n"


def _markers(kind: str) -> tuple[str, str]:
    return f"<!-- faults: {kind} -->\n", f"<!-- end of faults: {kind} -->\n"


def row(name: str, *cells: str) -> str:
    """Return one line of the table."""
    return f"| `{name}` | " + " | ".join(" ".join(cell.replace("|", "/").split()) for cell in cells) + " |\n"


def documented(kind: str) -> dict[str, str]:
    """Return the rows of a kind that the page has, by name."""
    begin, end = _markers(kind)
    text = PAGE.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]
    return {found[1]: found[0] + "\n" for found in re.finditer(r"^\| `([a-z0-9-]+)` \|.*$", text, re.MULTILINE)}


def write(kind: str, rows: Mapping[str, str]) -> None:
    """Put these rows in place of a kind's section; raises ValueError when the page has no markers for it."""
    _replace(*_markers(kind), HEADER + "".join(rows.values()) if rows else "")


def put(name: str, text: str, *, page: Path = PAGE) -> None:
    """Put figures between `<!-- figures: NAME -->` and its end; raises ValueError when the page has no such markers."""
    _replace(*_figures(name), text, page)


def figures(name: str, *, page: Path = PAGE) -> str:
    """Return what is between `<!-- figures: NAME -->` and its end."""
    begin, end = _figures(name)
    return page.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]


def _figures(name: str) -> tuple[str, str]:
    return f"<!-- figures: {name} -->\n", f"<!-- end of figures: {name} -->\n"


def _replace(begin: str, end: str, text: str, page: Path = PAGE) -> None:
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    if not found or end not in rest:
        raise ValueError(f"{page} has no section between {begin.strip()} and {end.strip()}")
    page.write_text(before + begin + text + end + rest.partition(end)[2], encoding="utf-8")
