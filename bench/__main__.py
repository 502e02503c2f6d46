"""Runs the benchmarks and prints one table: `python -m bench [--quick] [--update-baseline]`."""

from __future__ import annotations

import argparse
import sys

from bench import inprocess, issue, startup
from bench.measure import have_wrk
from bench.report import print_rows, write_baseline


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
    else:
        sys.stderr.write("wrk is not installed (Debian: apt-get install wrk); whole servers are not measured\n")
    rows += startup.run(quick=arguments.quick)
    print_rows(rows)
    if arguments.update_baseline:
        write_baseline(rows)


if __name__ == "__main__":
    main()
