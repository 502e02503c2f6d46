"""Accuracy, genTime, signing-time and serial numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from asn1crypto import core, tsp
from hypothesis import given
from hypothesis import strategies as st

from tsa_core.protocol.tstinfo import (
    QUALIFIED_STATEMENT,
    Accuracy,
    TimeEncoder,
    encode_gen_time,
    encode_serials,
    encode_signing_time,
)


@given(st.integers(1, 10**12))
def test_accuracy_round_trip(microseconds: int) -> None:
    accuracy = Accuracy(microseconds=microseconds)
    assert accuracy.duration == timedelta(microseconds=microseconds)
    assert (accuracy.seconds * 1000 + accuracy.millis) * 1000 + accuracy.micros == microseconds
    native = tsp.Accuracy.load(accuracy.encoded, strict=True).native
    assert all(value is None or 1 <= value <= 999 for value in (native["millis"], native["micros"]))
    parts = [native[name] or 0 for name in ("seconds", "millis", "micros")]
    assert (parts[0] * 1000 + parts[1]) * 1000 + parts[2] == microseconds


@pytest.mark.parametrize("microseconds", [0, -1])
def test_accuracy_is_positive(microseconds: int) -> None:
    with pytest.raises(ValueError, match="at least one microsecond"):
        Accuracy(microseconds=microseconds)


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001 - the strategy adds it
    st.integers(0, 6),
    st.integers(-14 * 60, 14 * 60),
)
def test_gen_time_truncates_and_reads_back(time: datetime, digits: int, minutes: int) -> None:
    """In whatever zone the clock tells it, the same moment gives the same bytes."""
    encoded = encode_gen_time(time, fraction_digits=digits)
    assert encode_gen_time(time.astimezone(timezone(timedelta(minutes=minutes))), fraction_digits=digits) == encoded
    text = encoded[2:].decode()
    assert encoded[:2] == bytes((0x18, len(text)))
    whole, dot, fraction = text.removesuffix("Z").partition(".")
    assert len(whole) == 14
    assert bool(dot) == bool(fraction)
    assert not fraction.endswith("0")
    assert len(fraction) <= digits
    read: datetime = core.GeneralizedTime.load(encoded).native
    assert timedelta(0) <= time - read < timedelta(microseconds=10 ** (6 - digits))


@pytest.mark.parametrize(
    ("year", "tag", "size"),
    [(1949, 0x18, 15), (1950, 0x17, 13), (2049, 0x17, 13), (2050, 0x18, 15), (2060, 0x18, 15)],
)
def test_signing_time_is_utc_time_from_1950_to_2049(year: int, tag: int, size: int) -> None:
    time = datetime(year, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    encoded = encode_signing_time(time)
    assert encoded[:2] == bytes((tag, size))
    assert encoded.endswith(b"1231235959Z")


@given(
    st.lists(st.integers(-3_000_000, 3_000_000), min_size=1, max_size=20),
    st.sampled_from(
        [datetime(2026, 6, 1, 12, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC), datetime(1950, 1, 1, tzinfo=UTC)]
    ),
    st.integers(0, 6),
    st.booleans(),
)
def test_remembered_times_are_those_of_the_moment(
    steps: list[int], start: datetime, digits: int, in_other_zones: bool
) -> None:
    """Whatever order times come in, forwards, backwards and in other zones, nothing of another second is written."""
    encoder = TimeEncoder(fraction_digits=digits)
    for number, step in enumerate(steps):
        time = start + timedelta(microseconds=step)
        if in_other_zones:
            time = time.astimezone(timezone(timedelta(minutes=37 * number)))
        assert encoder.encode(time) == (encode_gen_time(time, fraction_digits=digits), encode_signing_time(time))


@given(st.lists(st.binary(min_size=20, max_size=20), max_size=4))
def test_serial_numbers_are_positive_and_of_one_width(random: list[bytes]) -> None:
    serials = encode_serials(b"".join(random))
    for encoded, octets in zip(serials, random, strict=True):
        assert encoded[:2] == b"\x02\x14"
        assert len(encoded) == 22
        assert encoded[3:] == octets[1:]
        number: int = core.Integer.load(encoded).native
        assert number.bit_length() == 159
        assert core.Integer(number).dump() == encoded


def test_qualified_statement() -> None:
    extension = tsp.Extension.load(QUALIFIED_STATEMENT, strict=True)
    assert extension["extn_id"].dotted == "1.3.6.1.5.5.7.1.3"
    assert extension["critical"].native is False
    assert extension["extn_value"].native.hex() == "300b30090607040081975e0101"
