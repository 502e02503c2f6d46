"""Failures that come with every request: the first is logged, the others are counted, and the count is told."""

from __future__ import annotations

import logging

import pytest

from tsa_core.authority.limited_log import LimitedLog

log = logging.getLogger(__name__)


def test_equal_failures_are_one_line_and_a_count(caplog: pytest.LogCaptureFixture) -> None:
    limited = LimitedLog(log, period=3600.0)
    for number in range(100):
        limited.error("AuditError", f"{number}", f"AuditError: the disk is full ({number})")
    assert caplog.messages == ["request 0: AuditError: the disk is full (0)"]
    limited.flush()
    assert len(caplog.messages) == 1  # the time is not over
    limited.flush(end=True)
    assert caplog.messages[1:] == [
        "99 more requests failed in the last seconds and were not logged; the last: AuditError: the disk is full (99)"
    ]
    limited.flush(end=True)
    assert len(caplog.messages) == 2


def test_failures_of_another_kind_are_not_hidden(caplog: pytest.LogCaptureFixture) -> None:
    limited = LimitedLog(log, period=3600.0)
    for kind in ("AuditError", "ClockError", "AuditError"):
        limited.error(kind, "7", kind)
    assert caplog.messages == ["request 7: AuditError", "request 7: ClockError"]


def test_what_was_not_logged_is_told_before_the_next_line(caplog: pytest.LogCaptureFixture) -> None:
    limited = LimitedLog(log, period=3600.0)
    limited.error("AuditError", "1", "first")
    limited.error("AuditError", "2", "second")
    limited._kinds["AuditError"].until = 0.0
    limited.error("AuditError", "3", "third")
    assert [message.partition(" ")[0] for message in caplog.messages] == ["request", "1", "request"]
    assert caplog.messages[1].endswith("the last: second")
    assert caplog.messages[2] == "request 3: third"


def test_names_of_exceptions_without_end_do_not_fill_the_memory() -> None:
    limited = LimitedLog(log)
    for number in range(1000):
        limited.error(f"Error{number}", "7", "made by a plugin")
    assert len(limited._kinds) <= 65
