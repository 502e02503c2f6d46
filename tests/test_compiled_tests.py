"""What `make test` compiles before its workers start is what pytest would compile itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.assertion import rewrite

COMPILE = Path(__file__).parent.parent / ".ci" / "compile.py"
TEST = "def test_it():\n    found = 3\n    assert found == 4\n"


@pytest.fixture(scope="module")
def compiling() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compiling", COMPILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pytest_compiles_no_test_again_and_its_assertions_tell_values(
    compiling: ModuleType, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(TEST)
    compiling.compile_test(path)
    monkeypatch.delattr(rewrite, "_rewrite_test")
    hook = rewrite.AssertionRewritingHook(request.config)
    spec = importlib.util.spec_from_file_location("compiled_test_it", path, loader=hook)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    hook.exec_module(module)
    with pytest.raises(AssertionError, match="assert 3 == 4"):
        module.test_it()


def test_hypothesis_reads_no_source_again(
    compiling: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypothesis.configuration import set_hypothesis_home_dir, storage_directory

    path = tmp_path / "source.py"
    path.write_text("LIMIT = 65432\n")
    home = storage_directory().path
    set_hypothesis_home_dir(tmp_path)
    try:
        compiling.read_constants(path)
    finally:
        set_hypothesis_home_dir(home)
    [kept] = (tmp_path / "constants").iterdir()
    assert "65432" in kept.read_text()
