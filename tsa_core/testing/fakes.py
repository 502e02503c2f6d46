"""Objects that stand in for what a test has no use for. No entry point registers them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from tsa_core.api import (
    AuditError,
    AuditRecord,
    AuditSink,
    Clock,
    ClockError,
    ClockMonitor,
    ClockVerdict,
    HealthStatus,
    LocalKeySigner,
    Observer,
    PrivateKey,
    RequestOutcome,
    SignerError,
    SignerUnavailable,
    TimeReading,
)
from tsa_core.testing.pki import new_key

NOON = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
"""The time that a FakeClock says unless it is told another one."""


class FakeSigner(LocalKeySigner):
    """Signs with a key in memory; set `failure` to make every signature raise it.

    `messages` are those that were to be signed, in order of arrival, `closed` counts calls of close().
    """

    def __init__(
        self, private_key: PrivateKey | None = None, *, digest: str | None = None, rsa_pss: bool = False
    ) -> None:
        super().__init__(private_key or new_key(), digest=digest, rsa_pss=rsa_pss)
        self.failure: Exception | None = None
        self.messages: list[bytes] = []
        self.closed = 0

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        """Return the signature, or raise `failure`."""
        self.messages.append(message)
        if self.failure is not None:
            raise self.failure
        return super().sign(message, timeout=timeout)

    def close(self) -> None:
        """Count."""
        self.closed += 1


class FailingSigner(FakeSigner):
    """Has a key and never signs: raises SignerUnavailable, or the error given."""

    def __init__(self, failure: Exception | None = None, *, private_key: PrivateKey | None = None) -> None:
        super().__init__(private_key)
        self.failure = failure or SignerUnavailable("the backend does not answer")


class RefusingSigner(FailingSigner):
    """Has a key and never signs: raises SignerError, as for a key that was disabled."""

    def __init__(self, *, private_key: PrivateKey | None = None) -> None:
        super().__init__(SignerError("the key is disabled"), private_key=private_key)


class FixedClock(Clock):
    """Tells one time for ever; assign `time` to set it."""

    def __init__(self, time: datetime = NOON, *, uncertainty: timedelta | None = None) -> None:
        self.time = time
        self.uncertainty = uncertainty

    def now(self) -> TimeReading:
        """Return the time."""
        return TimeReading(self.time, self.uncertainty)


class SteppingClock(Clock):
    """Moves by `step` with every reading; a negative step goes back. Thread-safe."""

    def __init__(self, start: datetime = NOON, *, step: timedelta = timedelta(seconds=1)) -> None:
        self._next = start
        self._step = step
        self._lock = threading.Lock()

    def now(self) -> TimeReading:
        """Return the time and move on."""
        with self._lock:
            time = self._next
            self._next += self._step
        return TimeReading(time)


class FailingClock(Clock):
    """Never has a time to trust."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure or ClockError("the clock has lost its reference")

    def now(self) -> TimeReading:
        """Raise."""
        raise self.failure


class FakeMonitor(ClockMonitor):
    """Says what it is told to say; assign `current`."""

    def __init__(self, *, trusted: bool = True, reason: str = "told so by a test") -> None:
        self.current = ClockVerdict(trusted=trusted, reason=reason)
        self.clock: Clock | None = None
        self.stopped = 0

    def start(self, clock: Clock) -> None:
        """Remember the clock."""
        self.clock = clock

    def verdict(self) -> ClockVerdict:
        """Return `current`."""
        return self.current

    def stop(self) -> None:
        """Count."""
        self.stopped += 1


class ListAuditSink(AuditSink):
    """Keeps records in a list, `records`."""

    latency = "local"

    def __init__(self, records: Iterable[AuditRecord] = ()) -> None:
        self.records = list(records)

    def write(self, record: AuditRecord) -> None:
        """Append."""
        self.records.append(record)


class FailingAuditSink(AuditSink):
    """Accepts nothing."""

    latency = "local"

    def write(self, record: AuditRecord) -> None:
        """Raise."""
        raise AuditError(f"the record of {record.request_id} cannot be stored")

    def health(self) -> HealthStatus:
        """Say that nothing can be stored."""
        return HealthStatus(healthy=False, reason="nothing can be stored")


class ListObserver(Observer):
    """Keeps outcomes in a list, `outcomes`."""

    def __init__(self) -> None:
        self.outcomes: list[RequestOutcome] = []

    def observe(self, outcome: RequestOutcome) -> None:
        """Append."""
        self.outcomes.append(outcome)
