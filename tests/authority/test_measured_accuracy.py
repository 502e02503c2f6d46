"""`accuracy = "measured"`: each token states by how much the clock is off at most, and true time is within it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import tsp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.authority.gate_world import Monitor, Open, Time, World
from tsa_core.api import ClockAnchor, ClockError, ClockVerdict, ConfigError, PKIFailureInfo, RequestContext, TimeReading
from tsa_core.authority import ClockGate, ClockState, Profile, TimestampAuthority
from tsa_core.authority.stated_accuracy import StatedAccuracy
from tsa_core.builtin.clock import SystemClock
from tsa_core.config import ClockSettings, ProfileSettings, load_settings
from tsa_core.protocol.tstinfo import TimeEncoder, measured_accuracy
from tsa_core.testing import FakeMonitor, FakeSigner, ListAuditSink, Pki, encode_request, write_pem

US = timedelta(microseconds=1)
MS = timedelta(milliseconds=1)
AHEAD = 550 * US
"""Nearly what the gate adds for the second and the step that an evaluation covers, with the default drift_ppm."""
UNSEEN = 98e-6
"""Seconds of a step that is too small for a new evaluation, with room for the microseconds of times."""


@dataclass
class Served:
    """An authority with one profile, its monitor, and what its audit sink was given."""

    authority: TimestampAuthority
    monitor: FakeMonitor
    sink: ListAuditSink

    def says(self, offset: timedelta, uncertainty: timedelta) -> None:
        anchor = ClockAnchor.take(SystemClock())
        self.monitor.current = ClockVerdict(
            trusted=True,
            reason="",
            offset=offset,
            uncertainty=uncertainty,
            checked_at=anchor.monotonic,
            anchor=anchor,
        )

    def token(self) -> Any:
        reply = self.authority.respond(encode_request(b"x"), RequestContext())
        assert reply.rejection is None, reply.rejection
        return _tst_info(reply.der)

    def refusal(self) -> str:
        rejection = self.authority.respond(encode_request(b"x"), RequestContext()).rejection
        assert rejection is not None
        assert rejection.failure is PKIFailureInfo.TIME_NOT_AVAILABLE
        return rejection.text


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    signer = FakeSigner()
    chain = write_pem(tmp_path / "chain.pem", Pki().chain(signer.public_key))

    def make(*, clock: ClockSettings | None = None, **profile: Any) -> Served:
        monitor, sink = FakeMonitor(), ListAuditSink()
        gate = ClockGate(SystemClock(), [monitor], settings=clock)
        table = {"signer": "test:", "certificate_chain": str(chain), "accuracy": "measured", "fraction_digits": 6}
        default = Profile("default", ProfileSettings.model_validate({**table, **profile}), signer, gate)
        authority = TimestampAuthority(profiles=[default], gate=gate, audit_sinks=[("list", sink)])
        return Served(authority, monitor, sink)

    return make


def _tst_info(reply: bytes) -> Any:
    return tsp.TimeStampResp.load(reply)["time_stamp_token"]["content"]["encap_content_info"]["content"].parsed


def stated(info: Any) -> timedelta:
    parts = info["accuracy"].native
    return timedelta(
        seconds=parts["seconds"] or 0, milliseconds=parts["millis"] or 0, microseconds=parts["micros"] or 0
    )


@pytest.mark.parametrize("ordering", [False, True])
def test_the_token_states_the_bound_of_now(serve: Serve, ordering: bool) -> None:
    served = serve(ordering=ordering)
    served.says(20 * MS, 5 * MS)
    first = stated(served.token())
    assert 25 * MS + AHEAD <= first < 60 * MS
    assert first % MS == timedelta(0), "whole milliseconds"
    served.says(-200 * MS, 5 * MS)
    assert 205 * MS + AHEAD <= stated(served.token()) < 240 * MS


def test_no_token_states_less_than_the_floor(serve: Serve) -> None:
    served = serve(accuracy_floor="40ms")
    served.says(timedelta(0), MS)
    assert stated(served.token()) == 40 * MS


def test_below_a_millisecond_microseconds_are_stated(serve: Serve) -> None:
    served = serve(accuracy_floor="50us")
    served.says(timedelta(0), 10 * US)
    assert 10 * US + AHEAD <= stated(served.token()) <= 2 * MS


def test_beyond_the_ceiling_there_is_no_token_and_the_gate_says_so(serve: Serve) -> None:
    served = serve(accuracy_ceiling="100ms")
    served.says(98 * MS, 5 * MS)
    assert "accuracy" in served.refusal()
    assert served.authority.gate.status().state is ClockState.UNSYNCHRONISED
    served.says(5 * MS, 5 * MS)
    assert stated(served.token()) < 100 * MS


def test_what_is_measured_is_not_widened_and_the_gate_says_so(serve: Serve) -> None:
    served = serve(clock=ClockSettings(widen_accuracy=True), accuracy_ceiling="100ms")
    served.says(98 * MS, 5 * MS)
    assert "accuracy" in served.refusal()
    assert not served.authority.gate.status().healthy


def test_without_a_measurement_there_is_no_token(serve: Serve) -> None:
    served = serve()
    served.monitor.current = ClockVerdict(trusted=True, reason="")
    assert "nothing has measured" in served.refusal()


def test_the_audit_record_has_the_bound(serve: Serve) -> None:
    served = serve()
    served.says(20 * MS, 5 * MS)
    accuracy = stated(served.token())
    bound = served.sink.records[0].clock_error_bound
    assert bound is not None
    assert 25 * MS + AHEAD <= bound < accuracy


def test_the_audit_record_has_it_too_when_the_profile_states_a_constant(serve: Serve) -> None:
    served = serve(accuracy="1s")
    served.says(20 * MS, 5 * MS)
    assert stated(served.token()) == timedelta(seconds=1)
    bound = served.sink.records[0].clock_error_bound
    assert bound is not None
    assert bound >= 25 * MS


def test_an_accuracy_is_made_once_for_an_evaluation(world: World, monitor: Monitor, open_gate: Open) -> None:
    gate = open_gate()
    state = StatedAccuracy("default", _profile(), ClockSettings()).for_bound
    monitor.good()
    first = state(gate.read().uncertainty)
    assert state(gate.read().uncertainty) is first
    monitor.good(offset=7 * MS)
    second = state(gate.read().uncertainty)
    assert second is not first
    assert state(gate.read().uncertainty) is second


@pytest.mark.parametrize(
    ("error", "microseconds"),
    [(1, 1), (999, 999), (1000, 1000), (1001, 2000), (25_600, 26_000), (1_000_001, 1_001_000)],
)
def test_rounding_is_up(error: int, microseconds: int) -> None:
    assert measured_accuracy(timedelta(microseconds=error)).microseconds == microseconds


def _profile(**more: Any) -> ProfileSettings:
    table = {"signer": "test:", "accuracy": "measured", "fraction_digits": 3, **more}
    return ProfileSettings.model_validate(table)


@dataclass
class Life:
    """A clock that is measured once, drifts, is stepped a little, and dates two tokens.

    In seconds; `error` is clock minus truth. `drift` is a part of `drift_ppm`. The second token is dated `later`, after
    another step, `again`, which may be too small for a new evaluation. In the middle of its reading of the clock, the
    process is suspended for `stopped`, which may be as long as that step.
    """

    error: float
    share: float
    uncertainty: float
    elapsed: float
    drift: float
    step: float
    digits: int
    drift_ppm: float
    later: float
    again: float
    stopped: float


@st.composite
def lives(draw: st.DrawFn) -> Life:
    again = draw(st.one_of(st.floats(-UNSEEN, UNSEEN), st.floats(-0.19, 0.19)))
    return Life(
        error=draw(st.floats(-0.9, 0.9)),
        share=draw(st.floats(-1, 1)),
        uncertainty=draw(st.floats(0, 0.3)),
        elapsed=draw(st.floats(0, 90)),
        drift=draw(st.floats(-1, 1)),
        step=draw(st.floats(-0.19, 0.19)),
        digits=draw(st.integers(3, 6)),
        drift_ppm=draw(st.sampled_from([0.01, 100.0, 10_000.0])),
        later=draw(st.floats(0, 0.999)),
        again=again,
        stopped=draw(st.one_of(st.just(0.0), st.just(abs(again)), st.floats(0, 90))),
    )


def _exact(**more: Any) -> Life:
    """A clock that was right when it was measured, exactly."""
    still = {"error": 0.0, "share": 0.0, "uncertainty": 0.0, "elapsed": 0.0, "drift": 1.0, "step": 0.0, "digits": 6}
    return Life(**{**still, "drift_ppm": 0.01, "later": 0.999, "again": 0.0, "stopped": 0.0, **more})


@contextmanager
def simulated_time() -> Iterator[Time]:
    """Let the gate and clocks see a monotonic time that the test moves."""
    with pytest.MonkeyPatch.context() as patch:
        ticks = Time()
        patch.setattr("tsa_core.authority.gate._monotonic", ticks.monotonic)
        patch.setattr("tsa_core.api.clock.time", ticks)
        yield ticks


class Suspended(World):
    """A clock whose next reading is `stopped` seconds old when it returns."""

    stopped = 0.0

    def now(self) -> TimeReading:
        reading = super().now()
        self.pass_(self.stopped)
        self.stopped = 0.0
        return reading


@settings(max_examples=300)
@example(life=_exact(drift_ppm=10_000.0))
@example(life=_exact(drift_ppm=10_000.0, elapsed=80.0, drift=-1.0))
@example(life=_exact(drift_ppm=10_000.0, stopped=60.0))
@example(life=_exact(again=UNSEEN))
@example(life=_exact(again=-UNSEEN))
@example(life=_exact(again=0.15))
@example(life=_exact(again=0.15, stopped=0.15))
@example(life=_exact(elapsed=0.000999, digits=3))
@given(life=lives())
def test_true_time_is_within_the_accuracy_of_every_token(life: Life) -> None:
    with simulated_time() as ticks:
        world = Suspended(ticks)
        monitor = Monitor(world)
        clock = ClockSettings(drift_ppm=life.drift_ppm)
        gate = ClockGate(world, [monitor], settings=clock)
        profile = _profile(fraction_digits=life.digits, accuracy_floor="1us", accuracy_ceiling="3s")
        accuracy = StatedAccuracy("default", profile, clock)
        measured = life.error + life.share * life.uncertainty
        monitor.good(offset=timedelta(seconds=measured), uncertainty=timedelta(seconds=life.uncertainty) + 2 * US)
        # The drift comes on top of what both clocks of the machine show: it moves the truth, not their difference.
        world.pass_(life.elapsed)
        world.step(life.step)
        rate = life.drift * life.drift_ppm * 1e-6
        measured_at, error = ticks.monotonic() - life.elapsed, life.error + life.step
        held = None
        for _ in range(2):  # evaluated anew, and as it was evaluated
            try:
                reading = gate.read()
                token = accuracy.for_bound(reading.uncertainty)
            except ClockError:
                return
            assert token is not None
            assert held is None or life.stopped > 0 or abs(life.again) > UNSEEN or reading.uncertainty is held
            held = reading.uncertainty
            drifted = rate * ((reading.time - world.time).total_seconds() + ticks.monotonic() - measured_at)
            truth = reading.time - timedelta(seconds=error + drifted)
            gen_time = _decoded(TimeEncoder(fraction_digits=life.digits).encode(reading.time)[0])
            assert abs(gen_time - truth) <= token.duration
            world.pass_(life.later)
            world.step(life.again)
            error += life.again
            world.stopped = life.stopped


class Slow(World):
    """A clock whose reading takes `before` until the clock is read, and `after` from then on; seconds."""

    before = after = 0.0

    def now(self) -> TimeReading:
        self.pass_(self.before)
        reading = super().now()
        self.pass_(self.after)
        return reading


WAITS = st.floats(0, 0.05)


@given(begin=st.tuples(WAITS, WAITS), end=st.tuples(WAITS, WAITS), step=st.floats(-0.1, 0.1))
def test_true_time_is_within_the_accuracy_of_a_clock_that_is_slow_to_read(
    begin: tuple[float, float], end: tuple[float, float], step: float
) -> None:
    with simulated_time() as ticks:
        world = Slow(ticks)
        monitor = Monitor(world)
        gate = ClockGate(world, [monitor], settings=ClockSettings(drift_ppm=0.01))
        accuracy = StatedAccuracy("default", _profile(fraction_digits=6, accuracy_floor="1us"), ClockSettings())
        world.before, world.after = begin
        monitor.good(offset=timedelta(0), uncertainty=timedelta(0))
        world.step(step)
        world.before, world.after = end
        reading = gate.read()
        token = accuracy.for_bound(reading.uncertainty)
        assert token is not None
        assert abs(step) <= token.duration.total_seconds()


def _decoded(gen_time: bytes) -> datetime:
    text = gen_time[2:-1].decode("ascii")
    form = "%Y%m%d%H%M%S.%f" if "." in text else "%Y%m%d%H%M%S"
    return datetime.strptime(text, form).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"accuracy": "1s", "accuracy_floor": "1ms"}, "accuracy_floor has no effect"),
        ({"accuracy": "1s", "accuracy_ceiling": "1ms"}, "accuracy_ceiling has no effect"),
        ({"fraction_digits": 2}, "needs fraction_digits = 3"),
        ({"accuracy_floor": "2s", "accuracy_ceiling": "1s"}, "must not be more than accuracy_ceiling"),
        ({"accuracy_ceiling": "1ms"}, "must be more than the last digit"),
        ({"accuracy_floor": "0s"}, "greater than"),
        ({"accuracy": "guessed"}, "'guessed' is not a duration"),
    ],
)
def test_settings_of_a_profile_that_cannot_be(table: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        _profile(**table)


@pytest.mark.parametrize(
    ("clock", "complaint"),
    [
        ({}, "needs something that measures the clock"),
        ({"monitors": ["ntp"], "disabled_monitors": ["ntp"]}, "needs something that measures the clock"),
        ({"monitors": ["ntp"], "on_failure": "warn"}, "on_failure"),
        ({"monitors": ["ntp"], "widen_accuracy": True}, "widen_accuracy has no effect"),
    ],
)
def test_settings_of_the_clock_that_cannot_be(clock: dict[str, Any], complaint: str) -> None:
    profile = {"accuracy": "MEASURED", "fraction_digits": 3}
    with pytest.raises(ConfigError, match=complaint):
        load_settings(overrides={"profiles": {"default": profile}, "clock": clock}, environ={})


def test_a_clock_plugin_may_state_the_bound_itself() -> None:
    profile = {"accuracy": "measured", "fraction_digits": 3}
    loaded = load_settings(overrides={"profiles": {"default": profile}, "clock": {"source": "gps"}}, environ={})
    assert loaded.profiles["default"].promised_accuracy == timedelta(seconds=1)


def test_a_batch_shares_one_evaluation_whatever_is_measured_meanwhile(serve: Serve) -> None:
    served = serve()
    served.says(20 * MS, 5 * MS)
    batch = [served.authority.admit(encode_request(b"x"), RequestContext()) for _ in range(4)]
    sign = served.authority.profiles["default"].sign

    def sign_and_measure(to_sign: bytes) -> bytes:
        served.says(300 * MS, 5 * MS)
        return sign(to_sign)

    served.authority.profiles["default"].sign = sign_and_measure
    served.authority.respond_batch(batch)
    tokens = [_tst_info(pending.answered.der) for pending in batch]
    assert len({(token["gen_time"].native, stated(token)) for token in tokens}) == 1
    assert stated(tokens[0]) < 60 * MS
    assert len({record.clock_error_bound for record in served.sink.records}) == 1
    assert stated(served.token()) > 300 * MS
