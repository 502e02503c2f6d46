"""The process that forks commands for tests ends with the process that it works for, and leaves nothing open there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tsa_backends import commands

PROGRAM = """
from tsa_backends.commands import run_command
done = run_command("--version")
assert done.returncode == 0, done.stderr
print("ended in peace")
"""


def test_at_the_end_nothing_is_left_open() -> None:
    """pytest has gone by then, so a warning would fail no test."""
    backends = str(Path(commands.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": backends},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("ended in peace\n", "", 0)
