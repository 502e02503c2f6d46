"""The accuracy in a token covers the clock's error, or there is no token."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import tsp

from tsa_core.api import ClockAnchor, ClockVerdict, PKIFailureInfo, RequestContext
from tsa_core.authority import ClockGate, Profile, TimestampAuthority
from tsa_core.builtin.clock import SystemClock
from tsa_core.config import ClockSettings, ProfileSettings
from tsa_core.protocol.tstinfo import wider_accuracy
from tsa_core.testing import FakeMonitor, FakeSigner, Pki, encode_request, write_pem

MS = timedelta(milliseconds=1)


@pytest.fixture
def open_authority(tmp_path: Path) -> Callable[..., tuple[TimestampAuthority, FakeMonitor]]:
    signer = FakeSigner()
    chain = write_pem(tmp_path / "chain.pem", Pki().chain(signer.public_key))

    def make(
        *, accuracy: str = "100ms", ordering: bool = False, **clock: Any
    ) -> tuple[TimestampAuthority, FakeMonitor]:
        monitor = FakeMonitor()
        gate = ClockGate(SystemClock(), [monitor], settings=ClockSettings.model_validate(clock))
        settings = ProfileSettings.model_validate(
            {
                "signer": "test:",
                "certificate_chain": str(chain),
                "accuracy": accuracy,
                "ordering": ordering,
                "fraction_digits": 6,
            }
        )
        profile = Profile("default", settings, signer, gate)
        return TimestampAuthority(profiles=[profile], gate=gate), monitor

    return make


def measured(offset: timedelta, uncertainty: timedelta = MS) -> ClockVerdict:
    anchor = ClockAnchor.take(SystemClock())
    return ClockVerdict(
        trusted=True,
        reason="",
        offset=offset,
        uncertainty=uncertainty,
        checked_at=anchor.monotonic,
        anchor=anchor,
    )


def tst_info(authority: TimestampAuthority) -> Any:
    reply = authority.respond(encode_request(b"x"), RequestContext())
    assert reply.rejection is None, reply.rejection
    token = tsp.TimeStampResp.load(reply.der)["time_stamp_token"]
    return token["content"]["encap_content_info"]["content"].parsed


def stated(info: Any) -> timedelta:
    accuracy = info["accuracy"].native
    return timedelta(
        seconds=accuracy["seconds"] or 0, milliseconds=accuracy["millis"] or 0, microseconds=accuracy["micros"] or 0
    )


Open = Callable[..., tuple[TimestampAuthority, FakeMonitor]]


def test_within_the_accuracy_the_profiles_is_stated(open_authority: Open) -> None:
    authority, monitor = open_authority()
    monitor.current = measured(50 * MS)
    assert stated(tst_info(authority)) == 100 * MS


def test_beyond_it_there_is_no_token(open_authority: Open) -> None:
    authority, monitor = open_authority()
    monitor.current = measured(98 * MS, 5 * MS)
    rejection = authority.respond(encode_request(b"x"), RequestContext()).rejection
    assert rejection is not None
    assert rejection.failure is PKIFailureInfo.TIME_NOT_AVAILABLE
    assert "accuracy" in rejection.text


@pytest.mark.parametrize("ordering", [False, True])
def test_widened_accuracy_covers_the_error(open_authority: Open, ordering: bool) -> None:
    authority, monitor = open_authority(widen_accuracy=True, ordering=ordering)
    monitor.current = measured(-1300 * MS, 5 * MS)
    before = datetime.now(UTC) + 1300 * MS
    info = tst_info(authority)
    after = datetime.now(UTC) + 1300 * MS
    assert stated(info) == 2000 * MS
    assert info["gen_time"].native - stated(info) <= before
    assert after <= info["gen_time"].native + stated(info)
    assert bool(info["ordering"].native) is ordering
    monitor.current = measured(MS)
    assert stated(tst_info(authority)) == 100 * MS


def test_warn_states_the_profiles_accuracy(open_authority: Open) -> None:
    authority, monitor = open_authority(on_failure="warn")
    monitor.current = measured(-1300 * MS)
    assert stated(tst_info(authority)) == 100 * MS


def test_no_stated_accuracy_needs_none(open_authority: Open) -> None:
    authority, monitor = open_authority(accuracy="none")
    monitor.current = measured(-1300 * MS)
    assert tst_info(authority)["accuracy"].native is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [(1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (999, 1000), (1001, 2000), (4_999_999, 5_000_000)],
)
def test_wider_accuracies_are_few_and_cover(error: int, expected: int) -> None:
    assert wider_accuracy(timedelta(microseconds=error)).microseconds == expected


def test_state_changes_reach_the_log_once(open_authority: Open, caplog: pytest.LogCaptureFixture) -> None:
    authority, monitor = open_authority()
    with caplog.at_level(logging.INFO, "tsa_core.authority.clock_announcements"):
        monitor.current = measured(MS)
        for _ in range(3):
            tst_info(authority)
    assert len(caplog.records) == 1
