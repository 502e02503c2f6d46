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
VECTORS = """
import pytest
from tsa_backends.vectors import vectors

@pytest.mark.parametrize("number", range(3))
def test_there(number): assert vectors("there").is_dir()

def test_not_among_them(): vectors("elsewhere")
"""
REASONS = (
    "not installed: no-such-plugin",
    "there is no Python package 'no_such_package'; install its-name",
    "sums go up",
)


@pytest.mark.parametrize(
    ("require", "counted"),
    [(None, {"skipped": 3 + 1, "passed": 1 + 3}), ("all", {"errors": 3, "failed": 1, "passed": 1 + 3})],
)
def test_what_is_missing_skips_or_fails_as_told(tmp_path: Path, require: str | None, counted: dict[str, int]) -> None:
    folder = tmp_path / "vectors"
    (folder / "there").mkdir(parents=True)
    (tmp_path / "test_marked.py").write_text(MARKED)
    (tmp_path / "test_with_vectors.py").write_text(VECTORS)
    environment = {"TSA_TEST_VECTORS": str(folder), **({"TSA_TEST_REQUIRE": require} if require else {})}
    result = run_tests(tmp_path, environment)
    reasons = (*REASONS, f"the test vectors in {folder} lack the folder elsewhere")
    assert all(reason in result.stdout for reason in reasons), result.stdout + result.stderr
    assert outcomes(result) == counted, result.stdout


def test_published_vectors_are_nobodys_duty(tmp_path: Path) -> None:
    """All that need them are skipped, with one line, even where nothing else may be missing."""
    (tmp_path / "test_with_vectors.py").write_text(VECTORS)
    (tmp_path / "nothing_beside.py").write_text(
        "from pathlib import Path\nimport tsa_backends.vectors\ntsa_backends.vectors.BESIDE = Path('no-such-folder')\n"
    )
    result = run_tests(tmp_path, {"TSA_TEST_REQUIRE": "all"}, "-p", "nothing_beside")
    assert "SKIPPED [4]" in result.stdout, result.stdout + result.stderr
    assert outcomes(result) == {"skipped": 4}


def test_a_variable_that_names_no_folder_of_vectors_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "test_with_vectors.py").write_text(VECTORS)
    result = run_tests(tmp_path, {"TSA_TEST_VECTORS": str(tmp_path / "nowhere")})
    assert "TSA_TEST_VECTORS names" in result.stdout, result.stdout
    assert outcomes(result) == {"failed": 4}


def run_tests(folder: Path, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest over `folder` under this repository's configuration, with these TSA_... variables and no others."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TSA_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    # No plugin but the one that the configuration has a setting of: to import all takes half of the time.
    command += ["-p", "pytest_timeout", "-p", "no:cacheprovider", "-p", "conftest", *options]
    command += ["--confcutdir", str(ROOT), str(folder)]
    paths = os.pathsep.join([str(folder), str(ROOT / "tests" / "backends")])
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**clean, **environment, "PYTHONPATH": paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def outcomes(result: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return the numbers in pytest's closing line, by outcome."""
    closing = result.stdout.splitlines()[-1]
    return {outcome: int(number) for number, outcome in re.findall(r"(\d+) (skipped|passed|failed|errors?)", closing)}


def test_no_test_skips_by_another_way() -> None:
    """Such a skip would go unnoticed where nothing may be missing."""
    own = {
        Path(__file__),
        ROOT / "tests" / "deploy" / "packages.py",  # hands a skip of `missing` on
        ROOT / "tests" / "interop" / "builds.py",  # nobody has to own every toolchain
        ROOT / "tests" / "backends" / "tsa_backends" / "vectors.py",  # nobody has to own published vectors
    }
    other = re.compile(r"\b(mark\.skip|skipif|pytest\.skip(?=\()|importorskip|SkipTest)")
    tests = {path for folder in ("tests", "plugins") for path in (ROOT / folder).rglob("*.py")} - own
    assert len(tests) > 100
    assert {str(path) for path in tests if other.search(path.read_text(encoding="utf-8"))} == set()
