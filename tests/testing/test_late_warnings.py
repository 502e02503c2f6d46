"""What a test leaves open in a reference cycle fails the run, also when no test comes after it and in a worker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEAVING = """
import socket

def test_leaves_a_socket():
    cycle = [socket.socket()]
    cycle.append(cycle)
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_socket_that_the_last_test_has_left_open(tmp_path: Path, workers: str) -> None:
    (tmp_path / "test_leaving.py").write_text(LEAVING)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", workers, "--rootdir", str(ROOT)]
    done = subprocess.run(
        [*command, "-c", str(ROOT / "pyproject.toml"), "--confcutdir", str(ROOT), "-p", "conftest", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed, 1 error" in done.stdout
    assert "ResourceWarning: unclosed <socket.socket" in done.stdout
