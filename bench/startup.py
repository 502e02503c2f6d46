"""Time from the command to the first token, and memory.

python -m bench.startup [--quick]
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from bench.issue import WITH_CERTIFICATES
from bench.measure import Server, process_tree, resident_mib
from bench.report import Row, print_rows

CONFIGURATIONS = {
    "waitress": ("--server", "waitress"),
    "waitress, 2 workers": ("--server", "waitress", "--workers", "2"),
    "granian": ("--server", "granian"),
}


def run(*, quick: bool) -> list[Row]:
    """Measure and return the table's rows."""
    rows = []
    for name, arguments in CONFIGURATIONS.items():
        seconds, memory = [], []
        for _ in range(2 if quick else 7):
            started = time.monotonic()
            server = Server(*arguments)
            try:
                assert server.post(WITH_CERTIFICATES)[:1] == b"\x30"
                seconds.append(time.monotonic() - started)
                memory.append(max(resident_mib(pid) for pid in process_tree(server.process.pid)))
            finally:
                server.close()
        rows.append(
            Row(
                part="start",
                name=f"start, {name}",
                figures={"first token s": median(seconds), "resident MiB": median(memory)},
            )
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two starts each")
    print_rows(run(quick=parser.parse_args().quick))


if __name__ == "__main__":
    main()
