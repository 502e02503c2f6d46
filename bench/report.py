"""Rows of figures, their table, and the figures of the previous release beside them."""

from __future__ import annotations

import json
import os
import platform
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.backends.openssl.backend import backend
from rich.console import Console
from rich.table import Table

BASELINE = Path(__file__).with_name("baseline.json")
COMPARED = "bare signatures"
_COLUMNS = (COMPARED, "cpu us", "requests/s")
_PIPED_COLUMNS = 200
"""Where nothing has to be wrapped."""
_began = time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line: what was measured and the figures by name. COMPARED is the one to compare."""

    part: str
    name: str
    figures: dict[str, float]


def progress(what: str) -> None:
    """Tell who waits what is measured now; on stderr, where it is in nobody's way."""
    minutes, seconds = divmod(int(time.monotonic() - _began), 60)
    sys.stderr.write(f"{minutes:3d}:{seconds:02d}  {what}\n")


def machine() -> dict[str, str]:
    """Return what a reader must know to make sense of absolute figures."""
    return {
        "python": f"{platform.python_version()} ({platform.python_compiler()}, {' '.join(platform.python_build())})",
        "openssl of cryptography": backend.openssl_version_text(),
        "openssl of python": ssl.OPENSSL_VERSION,
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
    }


def print_rows(rows: Sequence[Row]) -> None:
    """Print the table: what is compared and its baseline in columns, and after them what only some rows have."""
    baseline = load_baseline()
    console = Console(width=None if os.isatty(1) else _PIPED_COLUMNS, highlight=False)
    for name, value in machine().items():
        console.print(f"{name}: {value}", soft_wrap=True)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("measured", no_wrap=True)
    for column in (*_COLUMNS, "baseline"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("also")
    for row in rows:
        before = baseline.get(row.name, {}).get(COMPARED)
        cells = [number(row.figures[column]) if column in row.figures else "" for column in _COLUMNS]
        also = ", ".join(f"{name} {number(value)}" for name, value in row.figures.items() if name not in _COLUMNS)
        table.add_row(row.name, *cells, number(before) if before is not None else "", also)
    console.print(table)


def number(value: float) -> str:
    """Return counts whole and all else with two places, as text."""
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:,.2f}"


def load_baseline() -> dict[str, dict[str, float]]:
    """Return the figures of the previous release by row, empty when there are none."""
    if not BASELINE.exists():
        return {}
    rows: dict[str, dict[str, float]] = json.loads(BASELINE.read_text(encoding="utf-8"))["rows"]
    return rows


def write_baseline(rows: Sequence[Row]) -> None:
    """Make these figures the ones to compare with."""
    document = {"machine": machine(), "rows": {row.name: row.figures for row in rows}}
    BASELINE.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
