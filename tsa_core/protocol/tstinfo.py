"""TSTInfo's own values: genTime, Accuracy and the serial number (RFC 3161 2.4.2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property

from tsa_core.protocol import der, oids
from tsa_core.values import Value

SERIAL_OCTETS = 20
_MICROSECOND = timedelta(microseconds=1)

QUALIFIED_STATEMENT = der.sequence(
    der.oid(oids.ID_PE_QC_STATEMENTS),
    der.octet_string(der.sequence(der.sequence(der.oid(oids.ESI4_QTST_STATEMENT_1)))),
)
"""The qcStatements extension of a qualified timestamp: one esi4-qtstStatement-1, not critical (EN 319 422 9.1)."""


class Accuracy(Value):
    """How far genTime may be from UTC, in whole microseconds.

    The DER form splits it into seconds, millis and micros, each of the latter two 1 to 999 or absent.
    """

    microseconds: int

    def __post_init__(self) -> None:
        if self.microseconds <= 0:
            raise ValueError("an accuracy must be at least one microsecond")

    @property
    def seconds(self) -> int:
        """Whole seconds."""
        return self.microseconds // 1_000_000

    @property
    def millis(self) -> int:
        """Milliseconds beyond the whole seconds, 0 to 999."""
        return self.microseconds // 1000 % 1000

    @property
    def micros(self) -> int:
        """Microseconds beyond the whole milliseconds, 0 to 999."""
        return self.microseconds % 1000

    @classmethod
    def of(cls, duration: timedelta) -> Accuracy:
        """Return the smallest accuracy that covers a duration."""
        return cls(microseconds=-(-duration // _MICROSECOND))

    @property
    def duration(self) -> timedelta:
        """The same as a timedelta."""
        return timedelta(microseconds=self.microseconds)

    @cached_property
    def encoded(self) -> bytes:
        """The DER of Accuracy."""
        return der.sequence(
            der.integer(self.seconds) if self.seconds else b"",
            _implicit_integer(0x80, self.millis),
            _implicit_integer(0x81, self.micros),
        )


def measured_accuracy(error: timedelta) -> Accuracy:
    """Return the accuracy that covers `error`, in whole microseconds below a millisecond, else in milliseconds."""
    accuracy = Accuracy.of(error)
    if accuracy.microseconds <= 1000:
        return accuracy
    return Accuracy(microseconds=-(-accuracy.microseconds // 1000) * 1000)


def wider_accuracy(error: timedelta) -> Accuracy:
    """Return the smallest of 1, 2 or 5 times a power of ten microseconds that covers `error`.

    There are few distinct values, so an accuracy reveals little about the clock, and token sizes repeat.
    """
    microseconds = Accuracy.of(error).microseconds
    power = 1
    while power * 5 < microseconds:
        power *= 10
    return Accuracy(microseconds=next(factor * power for factor in (1, 2, 5) if factor * power >= microseconds))


def _implicit_integer(tag: int, value: int) -> bytes:
    return der.tlv(tag, der.integer(value)[2:]) if value else b""


def encode_gen_time(time: datetime, *, fraction_digits: int = 0) -> bytes:
    """Return genTime as a GeneralizedTime in UTC: YYYYMMDDhhmmss[.f]Z.

    The time is truncated, never rounded, to `fraction_digits` (0 to 6): a token must not be dated later than it
    was made, and rounding 59.9999996 would write second 60. Trailing zeros of the fraction are not written, nor
    is a dot without digits.
    """
    time = time.astimezone(UTC)
    text = f"{time.year:04d}{time:%m%d%H%M%S}"
    if fraction_digits:
        fraction = f"{time.microsecond:06d}"[:fraction_digits].rstrip("0")
        if fraction:
            text = f"{text}.{fraction}"
    return der.tlv(der.GENERALIZED_TIME, text.encode("ascii") + b"Z")


def encode_signing_time(time: datetime) -> bytes:
    """Return the Time of a signing-time attribute: UTCTime to 2049, GeneralizedTime after (RFC 5652 11.3)."""
    time = time.astimezone(UTC)
    if 1950 <= time.year < 2050:
        return der.tlv(der.UTC_TIME, f"{time:%y%m%d%H%M%S}Z".encode("ascii"))
    return encode_gen_time(time)


class TimeEncoder:
    """Encodes the two times of a token, genTime and signing-time, with a cache for the last second.

    Thread-safe: the cached tuple is replaced as a whole.
    """

    def __init__(self, *, fraction_digits: int = 0) -> None:
        self._fraction_digits = fraction_digits
        never = datetime.min.replace(tzinfo=UTC)
        self._last = (never, never, b"", b"")

    def encode(self, time: datetime) -> tuple[bytes, bytes]:
        """Return (genTime, signing-time) as their DER; signing-time is genTime's second (rule C6)."""
        start, stop, gen_time, signing_time = self._last
        if not start <= time < stop:
            start = time.replace(microsecond=0)
            stop = start + timedelta(seconds=1)
            gen_time, signing_time = encode_gen_time(start), encode_signing_time(start)
            self._last = (start, stop, gen_time, signing_time)
        if self._fraction_digits:
            gen_time = encode_gen_time(time, fraction_digits=self._fraction_digits)
        return gen_time, signing_time


def encode_serials(random: bytes) -> list[bytes]:
    """Return serialNumbers of fixed width, one from every 20 random octets.

    The two top bits are fixed to 01, so that the INTEGER is positive and always has 20 octets, which keeps token sizes
    constant (rule C12). With 158 random bits, equal numbers do not occur in practice, across processes too.
    """
    octets = range(0, len(random), SERIAL_OCTETS)
    return [_SERIAL_STARTS[random[first]] + random[first + 1 : first + SERIAL_OCTETS] for first in octets]


_SERIAL_STARTS = tuple(bytes((der.INTEGER, SERIAL_OCTETS, octet & 0x3F | 0x40)) for octet in range(256))
