"""The time of a token: one reading of the clock, as the profile states it."""

from __future__ import annotations

from tsa_core.api import PKIFailureInfo, RequestRejected
from tsa_core.authority.limited_log import LimitedLog
from tsa_core.authority.pending_request import PendingRequest, Stamp

_new_tuple = tuple.__new__
"""Makes a named tuple in half the time of its constructor."""


def new_stamp(failures: LimitedLog, pending: PendingRequest) -> Stamp:
    """Read the clock for a request. Its batch shares the time, unless the profile orders its tokens by time.

    Raises ClockError, and RequestRejected outside the period in which the profile may issue.
    """
    profile = pending.profile
    reading = profile.read_clock()
    time = reading.time
    if not profile.not_before <= time <= profile.not_after:
        reason = profile.outside_period(time)
        text = f"profile {profile.name}: no token for {time}: {reason}"
        failures.error("period", pending.context.request_id, text)
        raise RequestRejected(PKIFailureInfo.SYSTEM_FAILURE, f"this authority may not issue now: {reason}")
    accuracy = profile.accuracy_for(reading.uncertainty)
    stamp = _new_tuple(Stamp, (time, *profile.encode_times(time), accuracy, reading.uncertainty))
    if not profile.settings.ordering:
        pending.batch.stamps[profile.name] = stamp
    return stamp
