"""Programs, packages and servers that a test needs and a machine may lack."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRE_VARIABLE = "TSA_TEST_REQUIRE"


def missing(reason: str) -> NoReturn:
    """Skip the running test because something outside it is missing; fail it when TSA_TEST_REQUIRE is `all`."""
    if os.environ.get(REQUIRE_VARIABLE) == "all":
        pytest.fail(f"{reason} ({REQUIRE_VARIABLE}=all forbids to skip)", pytrace=False)
    pytest.skip(reason)


def require_program(name: str, *, package: str | None = None) -> Path:
    """Return where the program `name` is; without it, skip or fail as `missing` does.

    `package` is what has to be installed, for the message, when it is called differently.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        missing(f"there is no program {name!r}; install {package or name}")
    return Path(found)


def require_package(name: str, *, install: str | None = None) -> None:
    """See that the top-level Python package `name` can be imported; without it, skip or fail as `missing` does.

    `install` is what has to be installed, for the message, when it is called differently.
    """
    if find_spec(name) is None:
        missing(f"there is no Python package {name!r}; install {install or name}")
