"""The clock in an opened service: /readyz, the audit trail, and what is closed when."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from tsa_core.api import (
    AuditEvent,
    AuditRecord,
    AuditSink,
    ClockMonitor,
    ClockVerdict,
    ConfigError,
    PluginError,
    Provider,
    RequestContext,
    hookimpl,
)
from tsa_core.authority import ClockStep
from tsa_core.config import load_settings
from tsa_core.host import InstalledPlugin, PluginHost
from tsa_core.service import ReadinessCheck, Service
from tsa_core.testing import FakeMonitor, encode_request, wait_until

pytestmark = pytest.mark.plugin("memory")


class Sink(AuditSink):
    """Keeps events; has a bad day when told."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.others: list[AuditEvent] = []
        self.fails = False

    def write(self, record: AuditRecord) -> None:
        """Take the record."""

    def event(self, event: AuditEvent) -> None:
        (self.events if event.kind == "clock.state" else self.others).append(event)
        if self.fails:
            raise RuntimeError("boom")


@pytest.fixture
def monitor() -> FakeMonitor:
    return FakeMonitor(trusted=True)


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def open_service(monitor: FakeMonitor, sink: Sink) -> Iterator[Callable[..., Service]]:
    module: Any = types.ModuleType("clock_service_fakes")

    def tsa_clock_monitors() -> list[Provider[ClockMonitor]]:
        return [Provider(name="fake", summary="", open=lambda _: monitor)]

    def tsa_audit_sinks() -> list[Provider[AuditSink]]:
        return [Provider(name="fake", summary="", open=lambda _: sink)]

    module.tsa_clock_monitors, module.tsa_audit_sinks = hookimpl(tsa_clock_monitors), hookimpl(tsa_audit_sinks)
    sys.modules[module.__name__] = module
    fake = InstalledPlugin(name="fake", module=module.__name__, distribution="tsa-fake", version="0.1.0")
    opened: list[Service] = []

    def make(**clock: Any) -> Service:
        installed = {plugin.name: [plugin] for plugin in PluginHost().installed()}
        overrides = {"clock": {"monitors": ["fake"], **clock}, "audit": {"sinks": ["fake"]}}
        settings = load_settings(overrides=overrides, environ={})
        opened.append(Service(settings, host=PluginHost({**installed, "fake": [fake]})))
        return opened[-1]

    yield make
    for service in opened:
        service.close()
    del sys.modules[module.__name__]


def clock_check(service: Service) -> ReadinessCheck:
    return next(check for check in service.readiness() if check.name == "clock")


def test_readiness_follows_the_gate(open_service: Callable[..., Service], monitor: FakeMonitor) -> None:
    service = open_service()
    assert clock_check(service) == ReadinessCheck(name="clock", healthy=True, reason="")
    monitor.current = ClockVerdict(trusted=False, reason="the time servers disagree")
    assert clock_check(service) == ReadinessCheck(
        name="clock", healthy=False, reason="unsynchronised; the time servers disagree"
    )


def test_warn_is_ready_and_says_so(open_service: Callable[..., Service], monitor: FakeMonitor) -> None:
    service = open_service(on_failure="warn")
    monitor.current = ClockVerdict(trusted=False, reason="the time servers disagree")
    check = clock_check(service)
    assert check.healthy
    assert "issued all the same" in check.reason
    assert service.authority.respond(encode_request(b"x"), RequestContext()).rejection is None


def test_each_change_is_one_audit_event(open_service: Callable[..., Service], monitor: FakeMonitor, sink: Sink) -> None:
    service = open_service()
    wait_until(lambda: len(sink.events) == 1, seconds=5, what="the first state")
    monitor.current = ClockVerdict(trusted=False, reason="the time servers disagree")
    wait_until(lambda: len(sink.events) == 2, seconds=5, what="the change, without any request")
    for _ in range(3):
        assert service.authority.respond(encode_request(b"x"), RequestContext()).rejection is not None
    sink.fails = True
    monitor.current = ClockVerdict(trusted=True, reason="")
    wait_until(lambda: len(sink.events) == 3, seconds=5, what="the way back")
    details = sink.events[1].details
    assert (details["previous"], details["state"], details["issuing"]) == ("synchronised", "unsynchronised", "false")
    assert details["reason"] == "the time servers disagree"
    assert sink.events[1].time.tzinfo is not None
    assert service.authority.respond(encode_request(b"x"), RequestContext()).rejection is None


def test_the_trail_tells_start_certificates_and_what_the_service_was_not_ready_for(
    open_service: Callable[..., Service], monitor: FakeMonitor, sink: Sink
) -> None:
    service = open_service()
    leaf = service.authority.profiles["default"].chain.leaf
    wait_until(lambda: len(sink.others) == 2, seconds=10, what="the start in the trail")
    started, certificate = sink.others
    assert (started.kind, certificate.kind) == ("service.started", "profile.certificate")
    assert started.details["pid"] == certificate.details["pid"] == str(os.getpid())
    assert certificate.details["certificate_sha256"] == leaf.fingerprint(SHA256()).hex()
    assert "previous_certificate_sha256" not in certificate.details
    monitor.current = ClockVerdict(trusted=False, reason="the time servers disagree")
    wait_until(lambda: len(sink.others) == 3, seconds=10, what="that the service is not ready")
    monitor.current = ClockVerdict(trusted=True, reason="")
    wait_until(lambda: len(sink.others) == 4, seconds=10, what="that it is ready again")
    unready, ready = sink.others[2:]
    assert [event.kind for event in (unready, ready)] == ["service.readiness"] * 2
    assert (unready.details["ready"], ready.details["ready"]) == ("false", "true")
    assert unready.details["causes"] == "clock: unsynchronised; the time servers disagree"
    for name in ("causes", "unready_since"):
        assert ready.details[name] == unready.details[name]


def test_the_trail_tells_that_the_clock_was_set(open_service: Callable[..., Service], sink: Sink) -> None:
    service = open_service()
    service.clock.gate.announcements.put(ClockStep(-3.5, datetime(2026, 6, 1, tzinfo=UTC)))
    service.clock.gate.announcements.deliver()
    wait_until(lambda: "clock.step" in [event.kind for event in sink.others], seconds=10, what="the step")
    assert sink.others[-1].details == {"pid": str(os.getpid()), "seconds": "-3.500000"}


def test_what_the_trail_is_told_at_the_end_is_stored(open_service: Callable[..., Service], sink: Sink) -> None:
    open_service().close()
    assert [event.kind for event in sink.others] == ["service.started", "profile.certificate"]


def test_monitor_is_started_with_the_clock_and_stopped_at_the_end(
    open_service: Callable[..., Service], monitor: FakeMonitor
) -> None:
    service = open_service()
    assert monitor.clock is service.clock.gate.clock
    service.close()
    assert monitor.stopped == 1


def test_disabled_monitor_is_not_opened(open_service: Callable[..., Service], monitor: FakeMonitor) -> None:
    open_service(disabled_monitors=["fake"])
    assert monitor.clock is None


def test_missing_monitor_stops_the_start(open_service: Callable[..., Service]) -> None:
    with pytest.raises(PluginError, match="no clock monitor 'nothere' is installed"):
        open_service(monitors=["nothere"])


@pytest.mark.parametrize(
    "table", [{"leap": "smear"}, {"on_failure": "hope"}, {"drift_ppm": -1}, {"max_holdover": "soon"}, {"monitor": "x"}]
)
def test_bad_clock_settings_are_config_errors(open_service: Callable[..., Service], table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"clock\."):
        open_service(**table)
