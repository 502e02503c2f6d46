"""AuditSinkContract and ObserverContract: what the core demands of those who watch it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from itertools import count
from time import perf_counter
from typing import ClassVar

import pytest

from tsa_core.api import (
    AuditError,
    AuditEvent,
    AuditSink,
    HealthStatus,
    Observer,
    PKIFailureInfo,
    PluginOptions,
    Provider,
    RequestOutcome,
)
from tsa_core.testing.latency import check_latency
from tsa_core.testing.plugin_contract import PluginFixtures
from tsa_core.testing.raising import raised
from tsa_core.testing.samples import sample_record, sample_refusal
from tsa_core.testing.threads import on_threads

_RECORDS = 64
_OUTCOMES = 1000


class AuditSinkContract(PluginFixtures):
    """Subclass it as TestSink; override `plugin`, `options` and `read_serial_numbers`.

    A sink that can fail overrides `failing_sink` too; another declares `can_fail = False`.
    """

    can_fail: ClassVar[bool] = True
    """Whether there is a state in which the sink cannot store."""

    @pytest.fixture
    def open_sink(
        self, provider: Provider[AuditSink], validated_options: PluginOptions
    ) -> Iterator[Callable[[], AuditSink]]:
        """Return a function that opens the sink through its provider."""
        opened: list[AuditSink] = []

        def open_one() -> AuditSink:
            opened.append(provider.open(validated_options))
            return opened[-1]

        yield open_one
        for sink in opened:
            sink.close()

    @pytest.fixture
    def sink(self, open_sink: Callable[[], AuditSink]) -> AuditSink:
        """Return the opened sink."""
        return open_sink()

    @pytest.fixture
    def read_serial_numbers(self) -> Callable[[], Collection[int]]:
        """Return a function that tells the serial numbers in the store, not by asking the sink; override it."""
        pytest.fail(f"{type(self).__name__} must override the fixture `read_serial_numbers`", pytrace=False)

    @pytest.fixture
    def failing_sink(self) -> AuditSink | None:
        """Return an opened sink that cannot store anything; override it."""
        if self.can_fail:
            pytest.fail(
                f"{type(self).__name__} must override the fixture `failing_sink` with a sink that cannot store, or "
                "declare can_fail = False",
                pytrace=False,
            )
        return None

    def test_is_a_sink(self, sink: AuditSink) -> None:
        assert isinstance(sink, AuditSink), "what `open` returns must extend tsa_core.api.AuditSink"

    def test_local_sink_does_not_wait(self, sink: AuditSink) -> None:
        serials = count(1)
        check_latency(sink.latency, lambda: sink.write_all([sample_record(next(serials))]), doing="write_all")

    def test_record_is_stored_when_write_returns(
        self, sink: AuditSink, read_serial_numbers: Callable[[], Collection[int]]
    ) -> None:
        sink.write(sample_record(7))
        assert list(read_serial_numbers()) == [7], "the record is not in the store, and the token would leave"

    def test_records_are_stored_when_write_all_returns(
        self, sink: AuditSink, read_serial_numbers: Callable[[], Collection[int]]
    ) -> None:
        sink.write_all([])
        sink.write_all([sample_record(number) for number in range(1, _RECORDS + 1)])
        assert sorted(read_serial_numbers()) == list(range(1, _RECORDS + 1)), "a token would leave without its record"

    def test_records_of_many_threads_are_all_stored(
        self, sink: AuditSink, read_serial_numbers: Callable[[], Collection[int]]
    ) -> None:
        on_threads(lambda number: sink.write(sample_record(number)), range(1, _RECORDS + 1))
        assert sorted(read_serial_numbers()) == list(range(1, _RECORDS + 1))

    def test_head_counts_the_records(self, sink: AuditSink) -> None:
        sink.write(sample_record(1))
        first = sink.head()
        if first is None:
            return
        sink.write(sample_record(2))
        second = sink.head()
        assert second is not None, "head() told an end of the trail before, and none after another record"
        number, separator, digest = second.partition(":")
        assert separator, "head() must return NUMBER:HASH"
        assert digest, "head() must return NUMBER:HASH"
        assert int(number) > int(first.partition(":")[0]), "the number in head() must grow with each record"

    def test_opened_sink_is_healthy(self, sink: AuditSink) -> None:
        sink.write(sample_record(1))
        assert sink.health().healthy, "health() says that nothing can be stored, but write() stored a record"

    def test_health_beside_writes(self, sink: AuditSink, read_serial_numbers: Callable[[], Collection[int]]) -> None:
        def store(number: int) -> bool:
            sink.write(sample_record(number))
            return sink.health().healthy

        assert all(on_threads(store, range(1, _RECORDS + 1))), "health() is False while records are stored"
        assert sorted(read_serial_numbers()) == list(range(1, _RECORDS + 1)), "health() must store no token"

    def test_sink_that_cannot_store_says_so_without_a_request(self, failing_sink: AuditSink | None) -> None:
        if failing_sink is None:
            return
        status = failing_sink.health()
        assert isinstance(status, HealthStatus), f"health() returned {type(status).__name__}, not HealthStatus"
        assert not status.healthy, (
            "health() says that records can be stored, and they cannot: /readyz would be green while no token leaves. "
            "Override health(), and let it try what write() does"
        )
        assert status.reason, "health() must say why not, in one line that everybody may see"

    def test_records_outlive_the_sink(
        self, open_sink: Callable[[], AuditSink], read_serial_numbers: Callable[[], Collection[int]]
    ) -> None:
        first = open_sink()
        first.write(sample_record(1))
        first.close()
        second = open_sink()
        second.write(sample_record(2))
        assert sorted(read_serial_numbers()) == [1, 2], "opening again lost records"

    def test_failure_is_audit_error(self, failing_sink: AuditSink | None) -> None:
        if failing_sink is None:
            assert not self.can_fail, "failing_sink is None, but can_fail is True"
            return
        raised(
            AuditError,
            lambda: failing_sink.write(sample_record()),
            doing="writing to a sink that cannot store",
            remedy="catch it in write()",
        )
        raised(
            AuditError,
            lambda: failing_sink.write_all([sample_record(1), sample_record(2)]),
            doing="writing several records to a sink that cannot store",
            remedy="catch it in write_all()",
        )

    def test_event_that_cannot_be_kept_is_audit_error(self, failing_sink: AuditSink | None) -> None:
        if failing_sink is None or not failing_sink.keeps_events:
            return
        event = AuditEvent(kind="countersignature", time=datetime.now(UTC), details={"profile": "default"})
        raised(
            AuditError,
            lambda: failing_sink.event(event),
            doing="storing an event in a sink that cannot store, and that says keeps_events",
            remedy="catch it in event()",
        )

    def test_what_check_opens_keeps_events_as_the_sink_does(
        self, provider: Provider[AuditSink], validated_options: PluginOptions, sink: AuditSink
    ) -> None:
        if provider.open_for_check is None:
            return
        trial = provider.open_for_check(validated_options)
        trial.close()
        assert trial.keeps_events == sink.keeps_events, "`check` would not find what the start finds"

    def test_refusals_are_taken_by_those_that_want_them(
        self, sink: AuditSink, read_serial_numbers: Callable[[], Collection[int]]
    ) -> None:
        if not sink.wants_refusals:
            return
        sink.write_refusals([sample_refusal(1), sample_refusal(2, known=False)])
        sink.write(sample_record(3))
        assert list(read_serial_numbers()) == [3], "a refused request has no token"

    def test_close_twice(self, open_sink: Callable[[], AuditSink]) -> None:
        sink = open_sink()
        sink.close()
        sink.close()
        assert isinstance(sink.health(), HealthStatus), "health() may still be called once after close()"


def sample_outcome(*, failure: PKIFailureInfo | None = None, known: bool = True) -> RequestOutcome:
    """Return what became of a request: granted, refused, or refused before anything was known of it."""
    return RequestOutcome(
        request_id="sample",
        client_address="127.0.0.1" if known else "",
        profile="default" if failure is None else None,
        failure=failure,
        hash_name="sha256" if known else None,
        serial_number=0x5A5A if failure is None else None,
        duration_ns=250_000,
        phases_ns={"sign": 60_000, "audit": 1_000} if failure is None else {},
    )


class ObserverContract(PluginFixtures):
    """Subclass it as TestObserver; override `plugin`, and `options` where the observer needs settings."""

    outcomes_seconds: ClassVar[float] = 1.0
    """Seconds for a thousand outcomes: the observer is told of every request."""

    @pytest.fixture
    def open_observer(
        self, provider: Provider[Observer], validated_options: PluginOptions
    ) -> Iterator[Callable[[], Observer]]:
        """Return a function that opens the observer through its provider."""
        opened: list[Observer] = []

        def open_one() -> Observer:
            opened.append(provider.open(validated_options))
            return opened[-1]

        yield open_one
        for observer in opened:
            observer.close()

    @pytest.fixture
    def observer(self, open_observer: Callable[[], Observer]) -> Observer:
        """Return the opened observer."""
        return open_observer()

    def test_is_an_observer(self, observer: Observer) -> None:
        assert isinstance(observer, Observer), "what `open` returns must extend tsa_core.api.Observer"

    @pytest.mark.parametrize("failure", [None, *PKIFailureInfo], ids=lambda f: f.text if f is not None else "granted")
    def test_takes_every_outcome(self, observer: Observer, failure: PKIFailureInfo | None) -> None:
        observer.observe(sample_outcome(failure=failure))

    def test_takes_what_was_refused_before_it_was_read(self, observer: Observer) -> None:
        observer.observe(sample_outcome(failure=PKIFailureInfo.BAD_DATA_FORMAT, known=False))

    def test_observes_on_many_threads(self, observer: Observer) -> None:
        on_threads(lambda _: observer.observe(sample_outcome()), range(_OUTCOMES))

    def test_observing_is_fast(self, observer: Observer) -> None:
        # The best of three rounds: a machine that is busy is slow for a while, an observer that sends is so each time.
        rounds = []
        for _ in range(3):
            started = perf_counter()
            for _ in range(_OUTCOMES):
                observer.observe(sample_outcome())
            rounds.append(perf_counter() - started)
        elapsed = min(rounds)
        assert elapsed < self.outcomes_seconds, f"{_OUTCOMES} outcomes took {elapsed:.2f} s; send them from a thread"

    def test_close_twice(self, open_observer: Callable[[], Observer]) -> None:
        observer = open_observer()
        observer.close()
        observer.close()
