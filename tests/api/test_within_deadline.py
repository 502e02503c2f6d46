"""within_deadline: bounded, jittered tries inside the caller's time."""

from __future__ import annotations

import logging
import time

import pytest

from tsa_core.api import SignerError, SignerUnavailable, within_deadline
from tsa_core.testing import ends_within


class Backend:
    """Fails as often as it is told, then answers; notes the seconds it was given."""

    def __init__(
        self, failures: int, error: type[SignerError] = SignerUnavailable, *, retry_after: float | None = None
    ) -> None:
        self.failures = failures
        self.error = error
        self.retry_after = retry_after
        self.given: list[float] = []
        self.times: list[float] = []

    def __call__(self, seconds: float) -> str:
        self.given.append(seconds)
        self.times.append(time.monotonic())
        if len(self.given) <= self.failures:
            how = {} if self.retry_after is None else {"retry_after": self.retry_after}
            raise self.error(f"failure {len(self.given)}", **how)
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


def test_without_a_number_of_attempts_the_whole_timeout_is_used() -> None:
    backend = Backend(10**6)
    began = time.monotonic()
    with (
        ends_within(0.5),
        pytest.raises(SignerUnavailable, match=r"^failure (\d+); tried \1 times in 0\.\d s, before: failure \d+$"),
    ):
        within_deadline(backend, timeout=0.5)
    assert len(backend.given) > 4
    assert time.monotonic() - began > 0.5 - 0.02
    assert all(seconds >= 0.02 for seconds in backend.given)


def test_no_try_begins_with_less_than_the_least_time_left() -> None:
    backend = Backend(10**6)
    with pytest.raises(SignerUnavailable):
        within_deadline(backend, timeout=0.4, least=0.2)
    assert all(seconds >= 0.2 for seconds in backend.given)


def test_the_backends_wish_to_wait_is_heeded() -> None:
    backend = Backend(2, retry_after=0.2)
    assert within_deadline(backend, timeout=5) == "signature"
    assert all(later - earlier >= 0.2 for earlier, later in zip(backend.times, backend.times[1:], strict=False))


def test_a_wish_to_wait_longer_than_the_time_that_is_left_ends_the_tries_at_once() -> None:
    backend = Backend(1, retry_after=3.0)
    began = time.monotonic()
    with ends_within(1), pytest.raises(SignerUnavailable, match=r"^failure 1$") as caught:
        within_deadline(backend, timeout=3)
    assert caught.value.retry_after == 3.0
    assert len(backend.given) == 1
    assert backend.times[0] - began < 3


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
    assert caplog.messages == ["try 2 worked; the one before failed: failure 1"]
