"""Skip what a missing plugin makes impossible, so that the core's tests also run with the core alone."""

from __future__ import annotations

import os
from importlib.metadata import entry_points

import pytest

INSTALLED = frozenset(entry_points(group="tsa_core.plugins").names)


def pytest_runtest_setup(item: pytest.Item) -> None:
    needed = {name for mark in item.iter_markers("plugin") for name in mark.args}
    if not (missing := sorted(needed - INSTALLED)):
        return
    reason = f"not installed: {', '.join(missing)}"
    if os.environ.get("TSA_TEST_REQUIRE") == "all":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
