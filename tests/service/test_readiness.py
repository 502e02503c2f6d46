"""What /readyz is told beside the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tsa_core.config import load_settings
from tsa_core.service import Service

pytestmark = pytest.mark.plugin("memory")


def test_a_chain_that_has_ended_is_not_ready() -> None:
    with Service(load_settings(environ={})) as service:
        assert all(check.healthy for check in service.readiness())
        service.authority.profiles["default"].not_after = datetime.now(UTC) - timedelta(seconds=1)
        unhealthy = {check.name: check.reason for check in service.readiness() if not check.healthy}
        assert unhealthy == {"certificate:default": "a certificate of the chain is not valid now"}
