"""The reference server's answers to raw requests, and the documentation's table that compares ours with them.

`python -m tests.interop.reference_requests --write` builds the reference server (builds.py), asks it, and writes what
it answers into reference_answers.json; then it asks our server, with `--rejections=sigstore` and without, and writes
the table. `--table` leaves the reference's answers as they are, which needs no Go.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from typing import Final

from tests.interop.builds import HERE, NoToolchain, built
from tests.interop.raw_answers import Answer, from_json, to_json
from tests.interop.request_differences import RFC3161, SIGSTORE
from tests.interop.request_table import PAGE, own_answers, with_table

ANSWERS: Final = HERE / "reference_answers.json"


def recorded() -> dict[str, Answer]:
    """Return the reference's answers as the file has them."""
    return from_json(ANSWERS.read_text(encoding="utf-8"))


def own_network() -> list[str]:
    """Return the command that runs another in a network of its own; raises NoToolchain where that is not allowed."""
    program = shutil.which("unshare")
    command = [program or "unshare", "--net", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]
    if program is None or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        raise NoToolchain("this machine makes no network namespaces")
    return command


def ask_reference() -> dict[str, Answer]:
    """Ask the reference server in a network of its own; raises NoToolchain or BuildFailed."""
    program = built("reference") / "bin" / "timestamp-server"
    command = [*own_network(), sys.executable, "-m", "tests.interop.isolated_reference", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=HERE.parents[1])
    if done.returncode:
        raise AssertionError(f"the reference server was not asked: {done.stderr[-3000:]}")
    return from_json(done.stdout)


def main(arguments: list[str] | None = None) -> int:
    """Write the answers and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="ask the reference and write its answers and the table")
    parser.add_argument("--table", action="store_true", help="write the table only, from the answers that are there")
    options = parser.parse_args(arguments)
    if options.write:
        ANSWERS.write_text(to_json(ask_reference()), encoding="utf-8")
    if options.write or options.table:
        page = PAGE.read_text(encoding="utf-8")
        text = with_table(page, recorded(), own_answers(SIGSTORE), own_answers(RFC3161))
        PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
