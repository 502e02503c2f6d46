"""Fixtures of the tests of opened configurations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.installed_wrong import Install, installing


@pytest.fixture
def install() -> Iterator[Install]:
    """Return a function that makes a host with the plugin `wrong` of acme-timestamps 1.0 and a signer that is right."""
    with installing() as make:
        yield make
