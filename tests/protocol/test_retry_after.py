"""Retry-After: seconds or a date; anything else says nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from tsa_core.protocol.retry_after import retry_after


def test_retry_after_in_both_of_its_forms() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after("120") == 120
    assert retry_after("Thu, 01 Jan 2026 00:01:00 GMT", now) == 60
    assert retry_after("Wed, 31 Dec 2025 00:00:00 GMT", now) == 0
    for nonsense in (None, "", "-1", "1.5", "soon", "9" * 5000, "Thu, 99 Foo 2026 00:00:00 GMT", "\0"):
        assert retry_after(nonsense, now) is None
