"""Runs the benchmarks and prints one table: `python -m bench [--quick] [--update-baseline]`."""

from __future__ import annotations

import argparse
import sys

from bench import audit_sinks, commands, guards, inprocess, issue, observability, startup, steady, verify
from bench.measure import have_wrk
from bench.report import Row, print_rows, write_baseline


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under a minute, to see that everything runs")
    parser.add_argument(
        "--update-baseline", action="store_true", help="make these figures the ones that later runs are compared with"
    )
    arguments = parser.parse_args()
    rows = inprocess.run(quick=arguments.quick)
    if have_wrk():
        rows += issue.run(quick=arguments.quick)
        if not arguments.quick:
            rows += steady.run(quick=False)
    else:
        sys.stderr.write("wrk is not installed (Debian: apt-get install wrk); whole servers are not measured\n")
    rows += _verify_rows(quick=arguments.quick)
    if arguments.quick:
        rows += startup.run(quick=True)
    else:
        with startup.needed_alone() as python:
            rows += startup.run(quick=False, alone=python)
    rows += commands.run(quick=arguments.quick)
    rows += observability.run(quick=arguments.quick)
    if have_wrk() and guards.installed():
        rows += guards.run(quick=arguments.quick)
    if have_wrk() and audit_sinks.installed():
        rows += audit_sinks.run(quick=arguments.quick)
    print_rows(rows)
    if arguments.update_baseline:
        write_baseline(rows)


def _verify_rows(*, quick: bool) -> list[Row]:
    """Return the verifiers' figures; `bare signatures` are verifications with nothing around them."""
    rows = []
    for kind, readers in verify.run(quick=quick)["verify"].items():
        bare = readers["bare signature"]["microseconds"]
        rows += [
            Row(
                part="verify",
                name=f"verify, {kind}, {name}",
                figures={"cpu us": figures["microseconds"], "bare signatures": figures["microseconds"] / bare},
            )
            for name, figures in readers.items()
        ]
    return rows


if __name__ == "__main__":
    main()
