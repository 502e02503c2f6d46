"""Run the faults: `python -m bench.faults`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from bench.faults import kinds, page
from bench.faults.fault import REGISTERED, Fault, Seen
from bench.faults.scene import Scene
from bench.report import machine, progress


def main(arguments: list[str] | None = None) -> int:
    """Run them, print what was seen, and write it when asked; 1 when a fault was not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="a fault or a kind; a pattern with * too")
    parser.add_argument("--write", action="store_true", help="write the rows that ran into docs/operate/faults.md")
    parser.add_argument("--list", action="store_true", help="print the faults' names and end")
    options = parser.parse_args(arguments)
    kinds.load()
    chosen = [each for each in REGISTERED.values() if _chosen(each, options.only)]
    if not chosen:
        parser.error("no fault has such a name; --list prints them")
    if options.list:
        print(*(f"{each.kind}\t{each.name}\t{each.done}" for each in chosen), sep="\n")
        return 0
    for name, value in machine().items():
        print(f"{name}: {value}")
    rows: dict[str, dict[str, str]] = {}
    failed = []
    for each in chosen:
        progress(each.name)
        try:
            seen = run(each)
        except pytest.skip.Exception as skipped:
            print(f"\n{each.name}: SKIPPED, {skipped}")
            continue
        except Exception as error:  # noqa: BLE001 - the other faults are run all the same
            print(f"\n{each.name}: NOT AS IT SHOULD BE, {type(error).__name__}: {error}")
            failed.append(each.name)
            continue
        cells = (each.done, seen.client, seen.operator, seen.healed)
        rows.setdefault(each.kind, {})[each.name] = page.row(each.name, *cells)
        print(
            f"\n{each.name}: {each.done}\n  client:   {seen.client}\n"
            f"  operator: {seen.operator}\n  healed:   {seen.healed}"
        )
    if options.write:
        for kind in kinds.KINDS:
            known = {**page.documented(kind), **rows.get(kind, {})}
            page.write(kind, {name: known[name] for name in kinds.names(kind) if name in known})
    if failed:
        print(f"\nnot as it should be: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(fault: Fault) -> Seen:
    """Let one fault happen in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="tsa-fault-") as folder:
        return fault.act(Scene(Path(folder)))


def _chosen(fault: Fault, only: list[str] | None) -> bool:
    return not only or any(fnmatch(name, pattern) for pattern in only for name in (fault.name, fault.kind))


if __name__ == "__main__":
    raise SystemExit(main())
