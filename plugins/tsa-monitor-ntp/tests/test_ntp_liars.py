"""Lying time servers of every number and size against a simulated truth: no token is further off than it says."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tsa_core.api import Clock, ClockAnchor, ClockError, ClockMonitor, ClockVerdict
from tsa_core.api.ntp.peer import Peer
from tsa_core.api.ntp.query import Sample
from tsa_core.authority import ClockGate
from tsa_core.builtin.clock import SystemClock
from tsa_monitor_ntp.monitor import NtpMonitor, NtpServer
from tsa_monitor_ntp.options import NtpOptions

ACCURACY_SECONDS = 1.0


class Says(ClockMonitor):
    """Repeats one verdict."""

    def __init__(self, verdict: ClockVerdict) -> None:
        self._verdict = verdict

    def start(self, clock: Clock) -> None:
        """Nothing to start."""

    def verdict(self) -> ClockVerdict:
        return self._verdict


@dataclass
class Round:
    """`error` is clock minus true time. An honest server's interval holds it; a liar's is where the liar wants it."""

    error: float
    honest: list[tuple[float, float]]
    lies: list[tuple[float, float]]

    def answers(self, anchor: ClockAnchor, peer: Peer) -> list[tuple[Peer, Sample]]:
        told = [(self.error + share * distance, distance) for share, distance in self.honest] + self.lies
        return [
            (
                peer,
                Sample(address="", stratum=1, offset=offset, delay=0.0, distance=distance, leap="none", anchor=anchor),
            )
            for offset, distance in told
        ]


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    error = draw(st.floats(-3, 3))
    # An honest server is anywhere within the distance that it states.
    honest = draw(st.lists(st.tuples(st.floats(-0.999, 0.999), st.floats(1e-6, 1.5)), min_size=2, max_size=7))
    edges = [error + share * distance + side * distance for share, distance in honest for side in (-1, 1)]
    # A liar of any size: at the border of an honest interval, at zero as if the clock were right, or anywhere.
    place = st.one_of(st.sampled_from([*edges, 0.0]), st.floats(-5, 5), st.floats(-1e4, 1e4))
    lies = draw(st.lists(st.tuples(place, st.floats(1e-6, 1.5)), max_size=len(honest) - 1))
    return Round(error, honest, lies)


@settings(max_examples=400)
@given(case=rounds())
def test_no_token_is_further_off_than_it_says_while_most_servers_are_honest(case: Round) -> None:
    count = len(case.honest) + len(case.lies)
    servers = [f"server{number}" for number in range(count)]
    options = NtpOptions.model_validate(
        {"servers": servers, "num_servers": count, "server_threshold": 1, "max_time_delta": "1h"}
    )
    monitor, clock = NtpMonitor(options), SystemClock()
    anchor = ClockAnchor.take(clock)
    verdict = monitor._judge(
        case.answers(anchor, Peer(NtpServer("", "", 123, max_distance=1.5), options, kind="ntp")),
        asked=count,
        anchor=anchor,
        started=time.monotonic(),
    )
    assert verdict.offset is not None, "honest servers share the truth, so there is a majority"
    assert verdict.uncertainty is not None
    microsecond = timedelta(microseconds=1)
    assert abs(verdict.offset - timedelta(seconds=case.error)) <= verdict.uncertainty + 2 * microsecond
    gate = ClockGate(clock, [Says(verdict)])
    gate.promise("default", timedelta(seconds=ACCURACY_SECONDS))
    try:
        gate.read()
    except ClockError:
        return
    assert abs(case.error) <= ACCURACY_SECONDS
