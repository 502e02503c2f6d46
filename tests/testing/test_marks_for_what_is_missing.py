"""The marks `plugin`, `package` and `needs`: a skip for people, a failure where nothing may be missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MARKED = """
import pytest

@pytest.mark.plugin("no-such-plugin")
def test_plugin(): pass

@pytest.mark.package("no_such_package", install="its-name")
def test_package(): pass

@pytest.mark.needs(1 > 2, "sums go up here")
def test_condition(): pass

@pytest.mark.plugin("system")
@pytest.mark.package("pytest")
@pytest.mark.needs(2 > 1, "sums go down here")
def test_all_there(): pass
"""
REASONS = (
    "not installed: no-such-plugin",
    "there is no Python package 'no_such_package'; install its-name",
    "sums go up",
)


@pytest.mark.parametrize(
    ("require", "counted"), [(None, {"skipped": 3, "passed": 1}), ("all", {"errors": 3, "passed": 1})]
)
def test_what_is_missing_skips_or_fails_as_told(tmp_path: Path, require: str | None, counted: dict[str, int]) -> None:
    (tmp_path / "test_marked.py").write_text(MARKED)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TSA_", "PYTEST_"))}
    if require:
        environment["TSA_TEST_REQUIRE"] = require
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    result = subprocess.run(
        [*command, "--confcutdir", str(ROOT), "-p", "no:cacheprovider", "-p", "conftest", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert all(reason in result.stdout for reason in REASONS), result.stdout + result.stderr
    closing = result.stdout.splitlines()[-1]
    found = {outcome: int(number) for number, outcome in re.findall(r"(\d+) (skipped|passed|failed|errors?)", closing)}
    assert found == counted, result.stdout


def test_no_test_skips_by_another_way() -> None:
    """Such a skip would go unnoticed where nothing may be missing."""
    own = {Path(__file__), ROOT / "tests" / "deploy" / "packages.py"}  # the latter hands a skip of `missing` on
    other = re.compile(r"\b(mark\.skip|skipif|pytest\.skip(?=\()|importorskip|SkipTest)")
    tests = {path for folder in ("tests", "plugins") for path in (ROOT / folder).rglob("*.py")} - own
    assert len(tests) > 100
    assert {str(path) for path in tests if other.search(path.read_text(encoding="utf-8"))} == set()
