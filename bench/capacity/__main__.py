"""What so many tokens a second take: `python -m bench.capacity [--quick] [--rate N]`.

Servers with each key, trail and guard run at once and take turns under the load of wrk; the CPU of the server, of
PostgreSQL and of Redis is divided by the tokens. With these constants the tables are computed.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.capacity.arithmetic import RATES, Sheet, sheets
from bench.faults import page
from bench.measure import have_wrk
from bench.report import machine

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operate" / "capacity.md"
_PIPED_COLUMNS = 200


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, compute and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a second for each, to see that it works")
    parser.add_argument("--rate", type=int, action="append", metavar="N", help="tokens a second, in place of the usual")
    parser.add_argument("--busy", type=float, default=0.5, help="the part of each core that may be busy (0.5)")
    parser.add_argument("--cores", type=int, default=8, help="cores of one replica (8)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the constants there")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/operate/capacity.md")
    options = parser.parse_args(arguments)
    if not have_wrk():
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk)")
    from bench.capacity.measured import measure

    constants = measure(quick=options.quick)
    found = sheets(constants, rates=sorted(options.rate or RATES), busy=options.busy, cores=options.cores)
    console = Console(width=None if os.isatty(1) else _PIPED_COLUMNS, highlight=False)
    for name, value in machine().items():
        console.print(f"{name}: {value}", soft_wrap=True)
    for sheet in found:
        console.print(_table(sheet))
    if options.json:
        document = {"machine": machine(), **asdict(constants)}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if options.write:
        for sheet in found:
            page.put(sheet.name, markdown(sheet), page=PAGE)


def _table(sheet: Sheet) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), title=f"\n{sheet.title}", title_justify="left")
    for column in sheet.columns:
        table.add_column(column, justify="left" if column == sheet.columns[0] else "right")
    for row in sheet.rows:
        table.add_row(*row)
    return table


def markdown(sheet: Sheet) -> str:
    """Return a table of the page, with its date."""
    lines = [sheet.columns, ["---"] * len(sheet.columns), *sheet.rows]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{table}\nMeasured on {datetime.now(UTC):%Y-%m-%d}.\n"


if __name__ == "__main__":
    main()
