"""Twenty seconds of the soak that is run for longer before a release: bench/clock_soak.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.plugin("memory", "ntp")

ROOT = Path(__file__).resolve().parents[3]


def test_no_token_is_further_off_than_it_says() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}
    result = subprocess.run(
        [sys.executable, "-m", "bench.clock_soak", "--minutes", "0.33", "--slope", "0.009"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    figures = json.loads(result.stdout)
    assert figures["outside_the_stated_accuracy"] == 0
    assert figures["granted"] > 20
    assert figures["refused"] > 20, "the truth wandered further than the accuracy, so some must be refused"
