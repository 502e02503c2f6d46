"""The drills' table: on a terminal, as JSON, and in docs/operate/replicas.md."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.faults import page
from bench.faults.scene import took
from bench.replicas.clients import TOKEN
from bench.replicas.drills import REGISTERED
from bench.replicas.invariants import Found

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operate" / "replicas.md"
_FIGURES = "drills"
COLUMNS = (
    "drill", "proxy", "tokens", "other answers", "no token for", "slowest answer", "healed after", "quota",
    "invariants",
)  # fmt: skip
_PIPED_COLUMNS = 220


@dataclass(frozen=True, kw_only=True)
class Row:
    """One drill behind one proxy; without figures when it came to no end, and `error` says why."""

    name: str
    proxy: str
    done: str
    found: Found | None = None
    error: str = ""

    @property
    def holds(self) -> bool:
        """Whether it came to its end, and every invariant holds."""
        return self.found is not None and not self.found.broken

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of COLUMNS."""
        if self.found is None:
            return self.name, self.proxy, "", "", "", "", "", "", self.error
        # 429 is for the tenant that is meant to reach its limits.
        others = {kind: count for kind, count in self.found.saw.items() if kind not in {TOKEN, "HTTP 429"}}
        listed = ", ".join(f"{kind} {count:,}" for kind, count in sorted(others.items()))
        return (
            self.name,
            self.proxy,
            f"{self.found.tokens:,}",
            listed or "none",
            took(self.found.pause),
            took(self.found.slowest),
            took(self.found.healed),
            f"{self.found.quota:,} of {self.found.allowed:,}",
            "; ".join(self.found.broken) or self._held,
        )

    @property
    def _held(self) -> str:
        lost = self.found.not_in_the_trail if self.found else 0
        return f"{lost:,} tokens are not in the trail, as was to be shown; all else holds" if lost else "all hold"

    def as_json(self) -> dict[str, object]:
        """Return everything that is known."""
        figures = {} if self.found is None else asdict(self.found)
        return {"drill": self.name, "proxy": self.proxy, "done": self.done, "error": self.error, **figures}


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    console = Console(width=None if os.isatty(1) else _PIPED_COLUMNS, highlight=False)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in COLUMNS:
        table.add_column(column)
    for row in rows:
        table.add_row(*row.cells, style=None if row.holds else "red")
    console.print(table)


def markdown(rows: Sequence[Row]) -> str:
    """Return the table's lines of these rows, without its heading."""
    return "".join(
        "| " + " | ".join(" ".join(cell.replace("|", "/").split()) for cell in row.cells) + " |\n" for row in rows
    )


def write(rows: Sequence[Row]) -> None:
    """Put the rows into the page, in place of older ones of the same drill and proxy."""
    heading = "| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|\n"
    before = page.figures(_FIGURES, page=PAGE).splitlines(keepends=True)[2:]
    lines = {_key(line): line for line in [*before, *markdown(rows).splitlines(keepends=True)]}
    names = list(REGISTERED)
    ordered = sorted((key for key in lines if key[0] in names), key=lambda key: (names.index(key[0]), key[1]))
    page.put(_FIGURES, heading + "".join(lines[key] for key in ordered), page=PAGE)
    listed = "".join(f"| `{drill.name}` | {drill.done} |\n" for drill in REGISTERED.values())
    page.put("drill-names", f"| drill | what is done |\n|---|---|\n{listed}", page=PAGE)


def documented() -> set[tuple[str, ...]]:
    """Return the drills and proxies that the page has a row for."""
    return {_key(line) for line in page.figures(_FIGURES, page=PAGE).splitlines()[2:]}


def _key(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.split("|")[1:3])
