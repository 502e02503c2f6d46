"""Verdicts through shared memory: what is read is what was written, whole, and once for each verdict."""

from __future__ import annotations

import os
import struct
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsa_core.api import ClockAnchor, ClockVerdict
from tsa_core.service.clock_relay import ClockRelay, RelayedMonitor, decode_verdict, encode_verdict

durations = st.none() | st.timedeltas(min_value=timedelta(days=-400), max_value=timedelta(days=400))
finite = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
anchors = st.none() | st.builds(ClockAnchor, st.datetimes(timezones=st.just(UTC)), finite, finite, st.none() | finite)
verdicts = st.builds(
    ClockVerdict,
    trusted=st.booleans(),
    reason=st.text(max_size=200),
    offset=durations,
    uncertainty=durations,
    checked_at=finite,
    measured=st.booleans(),
    anchor=anchors,
    valid_for=durations,
    leap=st.sampled_from(["none", "insert", "delete"]),
)


@given(verdict=verdicts)
def test_a_verdict_survives_the_way(verdict: ClockVerdict) -> None:
    assert decode_verdict(encode_verdict(verdict)) == verdict


def trusted(number: int = 0) -> ClockVerdict:
    return ClockVerdict(
        trusted=True,
        reason="",
        offset=timedelta(microseconds=number),
        uncertainty=timedelta(microseconds=2 * number),
        checked_at=float(number),
        anchor=ClockAnchor(datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=number), float(number), 0.1, 60.0),
        valid_for=timedelta(seconds=90),
    )


@pytest.fixture
def relay() -> Any:
    made = ClockRelay()
    yield made
    made.close()


def monitor(relay: ClockRelay, *, bank: int = 0, name: str = "ntp") -> RelayedMonitor:
    found = relay.monitors(bank, ["ntp", "chrony"])[name]
    assert isinstance(found, RelayedMonitor)
    return found


def test_nothing_is_trusted_before_the_first_verdict(relay: ClockRelay) -> None:
    verdict = monitor(relay).verdict()
    assert not verdict.trusted
    assert not verdict.measured
    assert verdict.checked_at == 0


def test_the_same_object_until_there_is_a_new_verdict(relay: ClockRelay) -> None:
    reader = monitor(relay)
    relay.write(0, 0, trusted(1))
    first = reader.verdict()
    assert first == trusted(1)
    assert reader.verdict() is first
    relay.write(0, 0, trusted(1))
    second = reader.verdict()
    assert second == first
    assert second is not first, "a new measurement is a new verdict, also when it says the same"


def test_monitors_and_banks_do_not_mix(relay: ClockRelay) -> None:
    relay.write(0, 1, trusted(5))
    assert not monitor(relay).verdict().trusted
    assert not monitor(relay, bank=1, name="chrony").verdict().trusted
    assert monitor(relay, name="chrony").verdict() == trusted(5)
    assert relay.monitors(0, ["ntp", "chrony"])["ntp"] is monitor(relay), "a reload keeps its monitors"


def test_a_bank_that_is_used_again_forgets(relay: ClockRelay) -> None:
    reader = monitor(relay, bank=1)
    relay.write(1, 0, trusted(1))
    assert reader.verdict().trusted
    relay.clear(1)
    assert not reader.verdict().trusted
    relay.write(1, 0, trusted(2))
    assert reader.verdict() == trusted(2)


def test_another_process_opens_the_memory_by_its_descriptor(relay: ClockRelay) -> None:
    other = ClockRelay(os.dup(relay.descriptor))
    other.write(0, 0, trusted(3))
    assert monitor(relay).verdict() == trusted(3)
    other.close()


@pytest.mark.parametrize("damage", ["odd number", "length", "checksum"])
def test_a_half_written_verdict_is_not_read(relay: ClockRelay, damage: str) -> None:
    """As a writer leaves it that was killed in the middle: the last whole verdict counts, and ages."""
    reader = monitor(relay)
    relay.write(0, 0, trusted(1))
    assert reader.verdict() == trusted(1)
    relay.write(0, 0, trusted(2))
    head = struct.Struct("=QII")
    number, length, checksum = head.unpack_from(relay._memory, 0)
    broken = {
        "odd number": (number + 1, length, checksum),
        "length": (number, 100_000, checksum),
        "checksum": (number, length, checksum ^ 1),
    }[damage]
    head.pack_into(relay._memory, 0, *broken)
    assert reader.verdict() == trusted(1)
    relay.write(0, 0, trusted(3))
    assert reader.verdict() == trusted(3)


def test_readers_never_see_a_mixture(relay: ClockRelay) -> None:
    """One writer as fast as it can, four readers: every verdict was written, none is older than before."""
    reader = monitor(relay)
    done = threading.Event()
    wrong: list[ClockVerdict] = []

    def read() -> None:
        last = -1.0
        while not done.is_set():
            verdict = reader.verdict()
            if verdict.trusted and (verdict != trusted(int(verdict.checked_at)) or verdict.checked_at < last):
                wrong.append(verdict)
            last = verdict.checked_at

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 5000):
        relay.write(0, 0, trusted(number))
    done.set()
    for thread in threads:
        thread.join(10)
    assert wrong == []
    assert reader.verdict() == trusted(4999)
