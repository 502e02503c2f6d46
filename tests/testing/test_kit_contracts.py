"""The contracts hold for what the core brings itself, and for the smallest plugin of each other kind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any

import pytest

from tsa_core.api import (
    AuditError,
    AuditRecord,
    AuditSink,
    Clock,
    ClockError,
    ClockMonitor,
    ClockVerdict,
    ConfigPath,
    HealthStatus,
    NoOptions,
    Observer,
    PluginOptions,
    Provider,
    RequestOutcome,
    ResponseProcessor,
    TokenDraft,
    TsaError,
)
from tsa_core.builtin import plugin as builtin_plugin
from tsa_core.protocol import der
from tsa_core.testing import (
    AuditSinkContract,
    ClockContract,
    ClockMonitorContract,
    FailingClock,
    ObserverContract,
    PolicySelectorContract,
    ResponseProcessorContract,
)


def module(hook: str, provider: Provider[Any]) -> ModuleType:
    """Return a plugin's module that registers one provider."""
    made = ModuleType(f"plugin_with_{hook}")
    setattr(made, hook, lambda: [provider])
    return made


class TestSystemClock(ClockContract):
    kind = "clock"
    can_fail = False

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return builtin_plugin


class TestClockThatCanFail(ClockContract):
    kind = "clock"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return builtin_plugin

    @pytest.fixture
    def lost_clock(self) -> Clock:
        return FailingClock()


class TestSelectorByOid(PolicySelectorContract):
    kind = "policy"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return builtin_plugin


class SystemMonitor(ClockMonitor):
    """Compares the clock with the system's, ten times a second."""

    def __init__(self, source: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._source = source
        self._verdict = ClockVerdict(trusted=False, reason="the clock was not compared yet")
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, clock: Clock) -> None:
        self._thread = threading.Thread(target=self._watch, args=[clock])
        self._thread.start()

    def _watch(self, clock: Clock) -> None:
        while not self._end.is_set():
            try:
                offset = clock.now().time - self._source()
            except (ClockError, OSError):
                self._verdict = ClockVerdict(trusted=False, reason="not comparable", checked_at=monotonic())
            else:
                good = abs(offset) < timedelta(seconds=1)
                reason = "" if good else "the clock is off"
                self._verdict = ClockVerdict(trusted=good, reason=reason, offset=offset, checked_at=monotonic())
            self._end.wait(0.1)

    def verdict(self) -> ClockVerdict:
        return self._verdict

    def stop(self) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()


class TestSmallestMonitor(ClockMonitorContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        provider = Provider[ClockMonitor](name="own", summary="The system", open=lambda _options: SystemMonitor())
        return module("tsa_clock_monitors", provider)

    @pytest.fixture
    def blind_monitor(self) -> ClockMonitor:
        def silence() -> datetime:
            raise OSError("no answer")

        return SystemMonitor(silence)


class Counter(ResponseProcessor):
    """Adds the serial number as an extension; does not work at all when told so."""

    def __init__(self, *, working: bool = True) -> None:
        self._working = working

    def extend(self, draft: TokenDraft) -> Iterable[bytes]:
        return [der.sequence(der.oid("1.3.6.1.4.1.57264.99"), der.octet_string(der.integer(draft.serial_number)))]

    def process(self, response: bytes, draft: TokenDraft) -> bytes:
        if not self._working:
            raise TsaError(f"the reply {draft.serial_number} cannot be processed")
        return response

    def health(self) -> HealthStatus:
        return HealthStatus(healthy=self._working, reason="" if self._working else "it does not work")


class TestSmallestProcessor(ResponseProcessorContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        provider = Provider[ResponseProcessor](name="count", summary="Counts", open=lambda _options: Counter())
        return module("tsa_response_processors", provider)

    @pytest.fixture
    def failing_processor(self) -> ResponseProcessor:
        return Counter(working=False)


class LineOptions(PluginOptions):
    path: ConfigPath


class LineSink(AuditSink):
    """Appends the serial number to a file, in one write."""

    def __init__(self, options: LineOptions) -> None:
        self._path = options.path

    def write(self, record: AuditRecord) -> None:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise AuditError(f"{self._path} cannot be written: {error.strerror}") from error
        try:
            os.write(descriptor, b"%d\n" % record.serial_number)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def health(self) -> HealthStatus:
        there = self._path.parent.is_dir()
        return HealthStatus(healthy=there, reason="" if there else "the directory is missing")


class TestSmallestSink(AuditSinkContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        provider = Provider[AuditSink](name="line", summary="Lines", options=LineOptions, open=LineSink)
        return module("tsa_audit_sinks", provider)

    @pytest.fixture
    def options(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"path": str(tmp_path / "serials")}

    @pytest.fixture
    def read_serial_numbers(self, tmp_path: Path) -> Callable[[], Collection[int]]:
        return lambda: [int(line) for line in (tmp_path / "serials").read_text().splitlines()]

    @pytest.fixture
    def failing_sink(self, tmp_path: Path) -> AuditSink:
        return LineSink(LineOptions(path=tmp_path / "missing" / "serials"))


class CountingObserver(Observer):
    """Counts."""

    def __init__(self, _options: NoOptions) -> None:
        self.count = 0

    def observe(self, outcome: RequestOutcome) -> None:
        self.count += 1


class TestSmallestObserver(ObserverContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        provider = Provider[Observer](name="tally", summary="Counts", open=CountingObserver)
        return module("tsa_observers", provider)
