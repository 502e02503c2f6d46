"""What every test of the chrony monitor with a real chronyd needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tsa_core.testing import require_program
from tsa_core.testing.chronyd import Chronyd


@pytest.fixture
def chronyd_folder(tmp_path: Path) -> Path:
    """Return a folder for a chronyd that chronyc will be asked about."""
    require_program("chronyc", package="chrony")
    return tmp_path / "chronyd"


@pytest.fixture
def table_of() -> Callable[..., dict[str, Any]]:
    """Return a function that makes the settings table of a fast monitor of a chronyd."""

    def make(chronyd: Chronyd, **more: Any) -> dict[str, Any]:
        return {"address": "127.0.0.1", "port": chronyd.command_port, "period": "100ms", **more}

    return make
