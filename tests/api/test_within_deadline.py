"""within_deadline: bounded, jittered tries inside the caller's time."""

from __future__ import annotations

import logging

import pytest

from tsa_core.api import SignerError, SignerUnavailable, within_deadline
from tsa_core.testing import ends_within


class Backend:
    """Fails as often as it is told, then answers; notes the seconds it was given."""

    def __init__(self, failures: int, error: type[SignerError] = SignerUnavailable) -> None:
        self.failures = failures
        self.error = error
        self.given: list[float] = []

    def __call__(self, seconds: float) -> str:
        self.given.append(seconds)
        if len(self.given) <= self.failures:
            raise self.error(f"failure {len(self.given)}")
        return "signature"


def test_a_call_that_works_is_made_once_with_the_whole_timeout() -> None:
    backend = Backend(0)
    assert within_deadline(backend, timeout=5, attempts=3) == "signature"
    assert backend.given == [5]


def test_unavailable_is_tried_again_with_the_time_that_is_left() -> None:
    backend = Backend(2)
    assert within_deadline(backend, timeout=5, attempts=3) == "signature"
    assert len(backend.given) == 3
    assert backend.given == sorted(backend.given, reverse=True)
    assert backend.given[-1] > 4


def test_the_number_of_attempts_is_a_bound_and_the_last_error_is_raised() -> None:
    backend = Backend(9)
    with pytest.raises(SignerUnavailable, match="failure 3"):
        within_deadline(backend, timeout=5, attempts=3)
    assert len(backend.given) == 3


def test_the_timeout_is_a_bound_even_with_attempts_left() -> None:
    backend = Backend(10**6)
    with ends_within(0.3), pytest.raises(SignerUnavailable):
        within_deadline(backend, timeout=0.3, attempts=10**6)


def test_other_errors_are_not_tried_again() -> None:
    backend = Backend(1, SignerError)
    with pytest.raises(SignerError, match="failure 1"):
        within_deadline(backend, timeout=5, attempts=3)
    assert len(backend.given) == 1


def test_a_failure_that_was_mended_by_trying_again_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    within_deadline(Backend(1), timeout=5, attempts=3)
    assert caplog.messages == ["attempt 2 of 3 worked; the one before failed: failure 1"]
