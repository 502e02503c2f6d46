"""Builds the reference's own tests of its server and its client, copied from its Go module, to be run against ours.

`python -m tests.interop.reference_tests` builds them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.interop.builds import LANGUAGES, BuildFailed, Language, NoToolchain, built

PROGRAM: Final = "referencetests"
_MODULE: Final = "github.com/sigstore/timestamp-authority/v2"
_FILES: Final = ("api_test.go", "build_test_data.go", "cli_test.go")
_SECONDS: Final = 800


def _build(folder: Path) -> None:
    _go(folder, "mod", "download", _MODULE)
    module = Path(_go(folder, "list", "-m", "-f", "{{.Dir}}", _MODULE))
    for name in _FILES:
        shutil.copyfile(module / "pkg" / "tests" / name, folder / name)
    _go(folder, "test", "-c", "-trimpath", "-mod=readonly", "-ldflags=-s -w", "-o", PROGRAM, ".")


def _go(folder: Path, *arguments: str) -> str:
    environ = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
    try:
        done = subprocess.run(
            ["go", *arguments], cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BuildFailed(f"go {arguments[0]} did not end within {_SECONDS} s") from None
    if done.returncode:
        raise BuildFailed(f"go {arguments[0]}: {done.stderr.strip()[-1500:]}")
    return done.stdout.strip()


# Not in builds.py, whose octets name every build: a change there makes all of them anew.
LANGUAGES[PROGRAM] = Language(name=PROGRAM, tools=LANGUAGES["go"].tools, build=_build, start=(f"./{PROGRAM}",))


def main() -> None:
    """Build them, or say why not."""
    try:
        sys.stderr.write(f"{PROGRAM}: {built(PROGRAM)}\n")
    except NoToolchain as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
    except BuildFailed as error:
        sys.exit(f"{PROGRAM}: {error}")


if __name__ == "__main__":
    main()
