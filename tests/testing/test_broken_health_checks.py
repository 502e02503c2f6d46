"""HealthCheckContract finds what is wrong with a health check."""

from __future__ import annotations

import pytest

from tsa_core.api import HealthCheck, HealthStatus
from tsa_core.testing import HealthCheckContract


class Says(HealthCheck):
    def __init__(self, healthy: bool, reason: str = "") -> None:
        self._status = HealthStatus(healthy=healthy, reason=reason)

    def check(self) -> HealthStatus:
        return self._status


@pytest.mark.parametrize(
    ("check", "complaint"),
    [
        (Says(True), "green while what it watches is not well"),
        (Says(False), "must say why"),
        (Says(False, "one\ntwo"), "one line"),
        (Says(False, "the token hunter2 has ended"), "shows the reason to everybody"),
    ],
)
def test_a_red_check_must_say_why_in_one_line_without_secrets(check: HealthCheck, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        HealthCheckContract().test_is_red_and_says_why_when_something_is_wrong(check, ["hunter2"])


def test_a_check_that_is_red_from_the_start_is_found() -> None:
    with pytest.raises(AssertionError, match="red from the start: why"):
        HealthCheckContract().test_is_green_when_all_is_well(Says(False, "why"))
