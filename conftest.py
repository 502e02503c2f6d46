"""For the core's tests and every plugin's: the backends of tests/backends, and skips where something is missing."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Generator, Iterator
from importlib.metadata import entry_points

import hypothesis
import pytest
from hypothesis import HealthCheck

# Where no process may keep what it has compiled, each one compiles the program and its dependencies anew, which is half
# of what the start of a server costs; and each worker compiles every test.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

pytest.register_assert_rewrite("tsa_backends")
pytest_plugins = ["tsa_backends.fixtures"]

# How long an example takes is the machine's business, and no verdict on it.
hypothesis.settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.settings.load_profile("any speed")

INSTALLED = frozenset(entry_points(group="tsa_core.plugins").names)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among the thousands of tests, which stay: it takes 0.3 s each time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose marks `plugin`, `package` and `needs` (see pyproject.toml) ask for what is not here.

    With TSA_TEST_REQUIRE=all it fails instead, for which reason no test says skipif.
    """
    # Imported here, because pytest rewrites the assertions of what is not loaded yet.
    from tsa_core.testing import missing, require_package

    needed = {name for mark in item.iter_markers("plugin") for name in mark.args}
    if absent := sorted(needed - INSTALLED):
        missing(f"not installed: {', '.join(absent)}")
    for mark in item.iter_markers("package"):
        require_package(*mark.args, **mark.kwargs)
    for mark in item.iter_markers("needs"):
        condition, reason = mark.args
        if not condition:
            missing(reason)


@pytest.fixture(autouse=True, scope="session")
def _nothing_left_open() -> Iterator[None]:
    """Look for garbage when all has been torn down: what is left open fails the last test, and not nobody's.

    A worker that has ended tells nobody of warnings.
    """
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Undo what a command of ours that ran in this process has set: its level would hide other tests' records."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if type(handler).__module__.startswith("tsa_core."):
            root.removeHandler(handler)
            handler.close()
