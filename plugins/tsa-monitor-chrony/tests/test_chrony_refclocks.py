"""A chronyd with a reference clock: tokens state the measured bound, and the audit trail says what measured it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tsa_backends.watched_clock import WITHIN, reach
from tsa_core.api import RequestContext
from tsa_core.authority import ClockChange, ClockGate, ClockState, Profile, TimestampAuthority
from tsa_core.builtin.clock import SystemClock
from tsa_core.config import ClockSettings, ProfileSettings
from tsa_core.testing import FakeSigner, ListAuditSink, Pki, encode_request, wait_until, write_pem
from tsa_core.testing.chronyd import Chronyd
from tsa_core.testing.ntp_responder import NtpResponder
from tsa_core.verify import TrustStore, verify_response
from tsa_monitor_chrony.monitor import ChronyMonitor
from tsa_monitor_chrony.options import ChronyOptions

from .refclock import ReferenceClock

Watch: TypeAlias = Callable[..., tuple[ChronyMonitor, ClockGate]]


@pytest.fixture
def reference() -> Iterator[ReferenceClock]:
    with ReferenceClock() as running:
        yield running


@pytest.fixture
def watch(chronyd_folder: Path, table_of: Callable[..., dict[str, Any]], reference: ReferenceClock) -> Iterator[Watch]:
    """Return a function that follows the reference clock, and time servers beside it, with a monitor and a gate."""
    opened: list[ChronyMonitor | Chronyd] = []

    def start(*servers: NtpResponder) -> tuple[ChronyMonitor, ClockGate]:
        also = [server.server for server in servers]
        chronyd = Chronyd(chronyd_folder, follows=0, also=also, lines=[reference.line]).start()
        opened.append(chronyd)
        monitor = ChronyMonitor(ChronyOptions.model_validate(table_of(chronyd, min_sources=1 + len(also))))
        opened.append(monitor)
        clock = SystemClock()
        monitor.start(clock)
        return monitor, ClockGate(clock, [monitor], settings=ClockSettings(drift_ppm=10))

    yield start
    for each in reversed(opened):
        each.stop()


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_tokens_state_the_bound_of_the_reference_clock_and_hold_true_time(
    reference: ReferenceClock, watch: Watch, tmp_path: Path, offset: float
) -> None:
    reference.offset = offset
    _, gate = watch()
    signer, sink = FakeSigner(), ListAuditSink()
    chain = Pki().chain(signer.public_key)
    table = {
        "signer": "test:",
        "certificate_chain": str(write_pem(tmp_path / "chain.pem", chain)),
        "accuracy": "measured",
        "accuracy_floor": "100us",
        "fraction_digits": 6,
    }
    profile = Profile("default", ProfileSettings.model_validate(table), signer, gate)
    authority = TimestampAuthority(profiles=[profile], gate=gate, audit_sinks=[("list", sink)])
    wait_until(
        lambda: gate.status().healthy and (gate.status().error_bound or timedelta(1)) < timedelta(seconds=0.5),
        seconds=WITHIN,
        what=f"a bound of less than 0.5 s ({gate.status()})",
    )
    request = encode_request(b"x")
    before = SystemClock().now().time
    reply = authority.respond(request, RequestContext())
    after = SystemClock().now().time
    assert reply.rejection is None, reply.rejection
    trust = TrustStore(roots=chain[-1:], certificates=chain[1:-1])
    token = verify_response(reply.der, trust=trust, artifact=b"x", request=request)
    assert token.accuracy is not None
    assert token.earliest is not None
    assert token.latest is not None
    bound = sink.records[-1].clock_error_bound
    assert bound is not None
    assert timedelta(seconds=offset) < bound < token.accuracy.duration < timedelta(seconds=0.6)
    assert token.earliest <= after + timedelta(seconds=offset)
    assert before + timedelta(seconds=offset) <= token.latest


def test_the_trail_and_the_operator_are_told_of_the_reference_clock(watch: Watch) -> None:
    with NtpResponder(host="127.0.0.2") as one, NtpResponder(host="127.0.0.3") as two:
        monitor, gate = watch(one, two)
        changes: list[ClockChange] = []
        gate.subscribe(changes.append)
        reach(gate, ClockState.SYNCHRONISED)
        outcomes = {report.name: report.outcome for report in monitor.sources()}
        assert outcomes["TEST"].endswith(", reference clock")
        assert not any("reference" in outcomes[server] for server in ("127.0.0.2", "127.0.0.3"))
        facts = changes[-1].status.facts
        assert facts["measured_by"] == "chronyd: reference clocks TEST; 2 time servers"
        assert float(facts["error_bound_seconds"]) > 0


def test_a_reference_clock_that_is_wrong_is_outvoted(reference: ReferenceClock, watch: Watch) -> None:
    reference.offset = 30.0
    with NtpResponder(host="127.0.0.2") as one, NtpResponder(host="127.0.0.3") as two:
        monitor, _ = watch(one, two)
        wait_until(
            lambda: {report.name: report.used for report in monitor.sources()}.get("TEST") is False,
            seconds=WITHIN,
            what="the reference clock is not believed",
        )


def test_without_its_signal_the_gate_closes(reference: ReferenceClock, watch: Watch) -> None:
    _, gate = watch()
    gate.settings = ClockSettings(drift_ppm=10, max_holdover=timedelta(seconds=0.5))
    reach(gate, ClockState.SYNCHRONISED)
    reference.silent = True
    reach(gate, ClockState.UNSYNCHRONISED)
