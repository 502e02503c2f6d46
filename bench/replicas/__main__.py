"""Run the drills of replicas: `python -m bench.replicas`."""

from __future__ import annotations

import argparse
import json
from fnmatch import fnmatch
from pathlib import Path

from bench.replicas import table
from bench.replicas.drills import REGISTERED, Drill
from bench.replicas.run import run
from bench.report import machine, progress

PROXIES = ("haproxy", "nginx")


def main(arguments: list[str] | None = None) -> int:
    """Run them and print the table; 1 when a drill came to no end, or an invariant does not hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.replicas", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="a drill; a pattern with * too")
    parser.add_argument("--proxy", choices=PROXIES, action="append", help="in place of both")
    parser.add_argument("--list", action="store_true", help="print the drills' names and end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--write", action="store_true", help="write the rows that ran into docs/operate/replicas.md")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the logs of all processes there")
    options = parser.parse_args(arguments)
    chosen = [each for each in REGISTERED.values() if _chosen(each, options.only)]
    if not chosen:
        parser.error("no drill has such a name; --list prints them")
    if options.list:
        print(*(f"{each.name}\t{each.done}" for each in chosen), sep="\n")
        return 0
    for name, value in machine().items():
        print(f"{name}: {value}")
    rows = [_row(each, proxy, options.keep) for each in chosen for proxy in options.proxy or PROXIES]
    table.show(rows)
    if options.json:
        figures = {"machine": machine(), "drills": [row.as_json() for row in rows]}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if options.write:
        table.write([row for row in rows if row.found is not None])
    return 0 if all(row.holds for row in rows) else 1


def _row(drill: Drill, proxy: str, keep: Path | None) -> table.Row:
    progress(f"{drill.name} behind {proxy}")
    try:
        found = run(drill, proxy, keep=keep)
    except Exception as error:  # noqa: BLE001 - the other drills are run all the same
        return table.Row(name=drill.name, proxy=proxy, done=drill.done, error=f"{type(error).__name__}: {error}")
    return table.Row(name=drill.name, proxy=proxy, done=drill.done, found=found)


def _chosen(drill: Drill, patterns: list[str] | None) -> bool:
    return patterns is None or any(fnmatch(drill.name, pattern) for pattern in patterns)


if __name__ == "__main__":
    raise SystemExit(main())
