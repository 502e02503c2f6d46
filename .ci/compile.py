"""Compile the program, its plugins and their tests, before the test runner's workers each do the same at the same time.

Tests are compiled as pytest does, with assertions that tell the values they compared. Hypothesis draws constants of the
sources that it has read; it reads those of a file once, too. Both have no public way to do it beforehand: where a name
is missing in another version, the workers do what is left.
"""

from __future__ import annotations

import compileall
import contextlib
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (*(ROOT / name for name in ("tsa_core", "tests", "bench")), *sorted(ROOT.glob("plugins/*/t*")))
TELLING = {"tsa_core/testing", "tests/backends/tsa_backends"}
"""Folders of modules whose assertions tell values, as those of tests do."""
AT_ONCE = 32
"""How many files a process takes at a time."""


def compile_test(path: Path) -> None:
    """Write what pytest would write when it imports the file, unless it is there."""
    from _pytest.assertion import rewrite

    config = SimpleNamespace(getini=lambda _name: False)  # what is asked for is `enable_assertion_pass_hook`
    folder = rewrite.get_cache_dir(path)
    compiled = folder / (path.stem + rewrite.PYC_TAIL)
    if rewrite._read_pyc(path, compiled) is None:
        folder.mkdir(parents=True, exist_ok=True)
        digest, code = rewrite._rewrite_test(path, config)
        rewrite._write_pyc(SimpleNamespace(trace=str), code, digest, compiled)


def read_constants(path: Path) -> None:
    """Let Hypothesis keep the constants of a source file, unless it has them."""
    from hypothesis.internal.constants_ast import constants_from_module

    module = ModuleType(path.stem)
    module.__file__ = str(path)
    constants_from_module(module)


def prepare(path: Path) -> None:
    """Do both for one file; what cannot be done here is done, or told, when the file is imported."""
    with contextlib.suppress(ImportError, AttributeError, TypeError, SyntaxError, OSError):
        tested = path.name.startswith(("test_", "conftest."))
        if tested or path.parent.relative_to(ROOT).as_posix() in TELLING:
            compile_test(path)
        if not tested:
            compileall.compile_file(path, quiet=2)
    with contextlib.suppress(ImportError, AttributeError, TypeError, OSError):
        read_constants(path)


def main() -> None:
    """Compile all, on all cores."""
    os.chdir(ROOT)  # where Hypothesis has its folder
    files = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
    with ProcessPoolExecutor() as pool:
        list(pool.map(prepare, files, chunksize=AT_ONCE))


if __name__ == "__main__":
    main()
