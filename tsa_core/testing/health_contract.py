"""HealthCheckContract: what the core demands of what adds a condition to /readyz."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from tsa_core.api import HealthCheck, HealthStatus, PluginOptions, Provider
from tsa_core.testing.plugin_contract import PluginFixtures
from tsa_core.testing.threads import on_threads
from tsa_core.testing.waiting import ends_within

_CHECKS = 64
_SECONDS = 5.0
"""After which the core calls a check that has not answered unhealthy."""


class HealthCheckContract(PluginFixtures):
    """Subclass it as TestCheck; override `plugin`, `failing_check`, and `options` where the check needs settings.

    A check that is healthy whatever happens declares `can_fail = False`.
    """

    can_fail: ClassVar[bool] = True
    """Whether there is a state in which the check is red."""

    @pytest.fixture
    def open_check(
        self, provider: Provider[HealthCheck], validated_options: PluginOptions
    ) -> Iterator[Callable[[], HealthCheck]]:
        """Return a function that opens the check through its provider."""
        opened: list[HealthCheck] = []

        def open_one() -> HealthCheck:
            opened.append(provider.open(validated_options))
            return opened[-1]

        yield open_one
        for check in opened:
            check.close()

    @pytest.fixture
    def check(self, open_check: Callable[[], HealthCheck]) -> HealthCheck:
        """Return the opened check, of something that is well."""
        return open_check()

    @pytest.fixture
    def failing_check(self) -> HealthCheck | None:
        """Return an opened check of something that is not well; override it."""
        if self.can_fail:
            pytest.fail(
                f"{type(self).__name__} must override the fixture `failing_check` with a check that is red, or declare "
                "can_fail = False",
                pytrace=False,
            )
        return None

    def test_is_a_health_check(self, check: HealthCheck) -> None:
        assert isinstance(check, HealthCheck), "what `open` returns must extend tsa_core.api.HealthCheck"

    def test_is_green_when_all_is_well(self, check: HealthCheck) -> None:
        status = self._ask(check)
        assert status.healthy, f"check() is red from the start: {status.reason}"

    def test_answers_many_threads(self, check: HealthCheck) -> None:
        assert all(on_threads(lambda _: self._ask(check).healthy, range(_CHECKS)))

    def test_is_red_and_says_why_when_something_is_wrong(
        self, failing_check: HealthCheck | None, secrets: list[str]
    ) -> None:
        if failing_check is None:
            return
        status = self._ask(failing_check)
        assert not status.healthy, "check() is green while what it watches is not well"
        assert status.reason.strip(), "check() must say why, in `reason`"
        assert "\n" not in status.reason, "the reason must be one line"
        assert not any(secret in status.reason for secret in secrets), "/readyz shows the reason to everybody"

    def test_close_twice(self, open_check: Callable[[], HealthCheck]) -> None:
        check = open_check()
        check.close()
        check.close()

    def _ask(self, check: HealthCheck) -> HealthStatus:
        with ends_within(_SECONDS):
            status = check.check()
        assert isinstance(status, HealthStatus), f"check() returned {type(status).__name__}, not HealthStatus"
        return status
