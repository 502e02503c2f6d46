"""Fixtures for the tests of plugins; opt in: `pytest_plugins = "tsa_core.testing.pytest_plugin"`."""

from __future__ import annotations

import pytest

from tsa_core.testing.fakes import FixedClock
from tsa_core.testing.pki import Pki


@pytest.fixture(scope="session")
def tsa_pki() -> Pki:
    """Return a root and an intermediate that issue certificates for any public key; one for the whole run."""
    return Pki()


@pytest.fixture
def tsa_clock() -> FixedClock:
    """Return a clock that stands still until a test moves it."""
    return FixedClock()
