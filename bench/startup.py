"""Time from the command to the first token, and memory, with all that is installed here and with what is needed alone.

python -m bench.startup [--quick] [--alone DIRECTORY]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench.issue import WITH_CERTIFICATES
from bench.measure import Server, process_tree, resident_mib
from bench.report import Row, print_rows, progress

CONFIGURATIONS = {
    "waitress": ("--server", "waitress"),
    "waitress, 2 workers": ("--server", "waitress", "--workers", "2"),
    "granian": ("--server", "granian"),
}
_CHECKOUT = Path(__file__).resolve().parent.parent
_PIP_SECONDS = 600


def run(*, quick: bool, alone: Path | None = None) -> list[Row]:
    """Measure and return the table's rows.

    `alone` is the Python of an environment with the core and the memory signer, whose starts are measured by turns with
    those of this one.
    """
    pythons = {"": Path(sys.executable), **({", needed plugin alone": alone} if alone else {})}
    rows = []
    for python in pythons.values():
        _start(python, ())  # leaves bytecode behind
    for name, arguments in CONFIGURATIONS.items():
        figures: dict[str, tuple[list[float], list[float]]] = {each: ([], []) for each in pythons}
        progress(f"start, {name}")
        for _ in range(2 if quick else 7):
            for environment, python in pythons.items():
                seconds, memory = _start(python, arguments)
                figures[environment][0].append(seconds)
                figures[environment][1].append(memory)
        medians = {environment: (median(first), median(second)) for environment, (first, second) in figures.items()}
        rows += [_row(f"start, {name}{environment}", *both) for environment, both in medians.items()]
        if alone:
            here, there = medians.values()
            rows.append(_row(f"start, {name}, difference", here[0] - there[0], here[1] - there[1]))
    return rows


def _row(name: str, seconds: float, mib: float) -> Row:
    return Row(part="start", name=name, figures={"first token s": seconds, "resident MiB": mib})


class _FirstToken(Server):
    """A server that has started when it has issued a token, whatever other routes need."""

    def _answers(self) -> bool:
        try:
            return self.post(WITH_CERTIFICATES)[:1] == b"\x30"
        except OSError:
            return False


def _start(python: Path, arguments: tuple[str, ...]) -> tuple[float, float]:
    """Start a server once; return the seconds until it has issued a token, and the MiB of its largest process."""
    server = _FirstToken(*arguments, python=python)
    try:
        return server.start_seconds, max(resident_mib(pid) for pid in process_tree(server.process.pid))
    finally:
        server.close()


@contextmanager
def needed_alone(directory: Path | None = None) -> Iterator[Path]:
    """Give the Python of an environment with the core, the memory signer and granian, and with nothing else of ours.

    It is in `directory` and stays there, or it is made and removed again; pip fetches what it needs.
    """
    with tempfile.TemporaryDirectory(prefix="tsa-bench-") as temporary:
        place = directory or Path(temporary)
        python = place / "bin" / "python"
        if not python.exists():
            _make(place)
        yield python


def _make(place: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", place], check=True, timeout=_PIP_SECONDS)
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for command in (("bash", ".ci/install-wheels", "constraints.txt", "signer-memory"),):
        environment = {**os.environ, "PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        subprocess.run(command, cwd=_CHECKOUT, env=environment, check=True, timeout=_PIP_SECONDS)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two starts each")
    parser.add_argument(
        "--alone",
        type=Path,
        metavar="DIRECTORY",
        help="environment with the core, the memory signer and granian; made when it is not there  [a temporary one]",
    )
    arguments = parser.parse_args()
    with needed_alone(arguments.alone) as python:
        print_rows(run(quick=arguments.quick, alone=python))


if __name__ == "__main__":
    main()
