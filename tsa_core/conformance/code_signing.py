"""What the CA/Browser Forum's code signing requirements ask of a timestamp authority (version 3).

The rules of the certificate chain are those of `chains.code_signing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from tsa_core.conformance import complaints
from tsa_core.conformance.chains.code_signing import CODE_SIGNING_RULES as CHAIN_RULES
from tsa_core.conformance.chains.code_signing import KEY_MONTHS, key_must_change
from tsa_core.conformance.rule import Case, ConformanceRule, End, When, demand, of_chains, unseen

_DAY: Final = timedelta(hours=24)
_ADJUSTMENT: Final = timedelta(seconds=1)


@demand(
    "csbr-imprint-hashes",
    clause="CSBR 7.1.3.2, read for imprints",
    setting="profiles.{profile}.accept_sha1",
    when=(When.START, When.TOKEN),
)
def imprint_hashes(case: Case) -> str | None:
    """No imprint is made with SHA-1."""
    return complaints.sha1_accepted(case)


@demand("csbr-certificate-in-token", clause="CSBR 6.8; RFC 3161 2.4.1", setting="profiles.{profile}.include_chain")
def certificate_in_token(case: Case) -> str | None:
    """A token has its signer's certificate when the request asks for it (certReq)."""
    return complaints.certificate_left_out(case)


def _key_ends(case: Case) -> Iterator[End]:
    yield End(moment=key_must_change(case.chain), what=f"use of the private key for {KEY_MONTHS} months (CSBR 6.3.2)")


@demand(
    "csbr-key-age",
    clause="CSBR 6.3.2",
    setting="profiles.{profile}.certificate_chain",
    when=(When.START, When.TIME),
    ends=_key_ends,
)
def key_age(case: Case) -> str | None:
    """A private key is used for 15 months at most, counted from its certificate or its private key usage period."""
    last = key_must_change(case.chain)
    if case.at <= last:
        return None
    return (
        f"the private key has been used for {KEY_MONTHS} months, until {last:%Y-%m-%d %H:%M:%S}Z; take a new key and "
        "certificate into use"
    )


@demand("csbr-clock-monitor", clause="CSBR 6.8", setting="clock.monitors")
def clock_monitor(case: Case) -> str | None:
    """A clock monitor detects when the clock drifts or jumps out of synchronization with UTC."""
    return complaints.clock_unwatched(case)


@demand("csbr-clock-gate", clause="CSBR 6.8", setting="clock.on_failure", when=(When.START, When.TOKEN))
def clock_gate(case: Case) -> str | None:
    """No token is made while the clock is not synchronized."""
    return complaints.gate_open(case)


@demand("csbr-clock-daily", clause="CSBR 6.8", setting="clock.max_holdover", when=(When.START, When.TOKEN))
def clock_daily(case: Case) -> str | None:
    """The clock is synchronized at least every 24 hours."""
    holdover = case.service.max_holdover
    if holdover <= _DAY:
        return None
    hours = holdover / timedelta(hours=1)
    return f'a measurement would be relied upon for {hours:g} hours; set it to "24h" or less'


@demand("csbr-monitor-daily", clause="CSBR 6.8", setting="clock.max_verdict_age", longest_period=_DAY)
def monitor_daily(case: Case) -> str | None:
    """A clock monitor measures at least every 24 hours, and is not relied upon when it has said nothing for so long."""
    age = case.service.max_verdict_age
    if age <= _DAY:
        return None
    return f'a monitor that has died would be believed for {age / timedelta(hours=1):g} hours; set it to "24h" or less'


@demand("csbr-leap-second", clause="CSBR 6.8", setting="clock.leap")
def leap_second(case: Case) -> str | None:
    """The clock stays synchronized across a leap second."""
    return complaints.leap_second_ignored(case)


@demand("csbr-clock-adjustments", clause="CSBR 6.8", setting="clock.step_threshold")
def clock_adjustments(case: Case) -> str | None:
    """Adjustments of the clock by one second or more are audited."""
    threshold = case.service.step_threshold
    if threshold <= _ADJUSTMENT:
        return None
    return (
        f"a step of the clock below {threshold.total_seconds():g} s would be taken for an offset, and change no state "
        'that is recorded; set it to "1s" or less'
    )


@demand("csbr-audit", clause="CSBR 6.8", setting="audit.sinks")
def audit(case: Case) -> str | None:
    """An audit trail has adjustments of the clock, and changes of the signing certificate."""
    return complaints.clock_events_lost(case)


UNSEEN: Final = (
    unseen(
        "csbr-key-protection",
        clause="CSBR 6.2.7.2",
        demand="The key is protected as by FIPS 140-2 level 3 or Common Criteria EAL 4+.",
        where="the certificate of the device or cloud service shows it",
    ),
    unseen(
        "csbr-authority-offline",
        clause="CSBR 6.2.7.1; ballot CSC-24",
        demand="The key of the subordinate CA that issues timestamp certificates is in hardware, offline.",
        where="the CA's practice statement says it",
    ),
    unseen(
        "csbr-utc-source",
        clause="CSBR 6.8",
        demand="The clock is synchronized with a UTC(k) time source.",
        where="who operates the monitors' time servers decides it",
    ),
    unseen(
        "csbr-adjustments-while-stopped",
        clause="CSBR 6.8",
        demand="Adjustments of the clock while the server is stopped are audited too.",
        where="the operating system's time service records them",
    ),
)

CODE_SIGNING_RULES: Final[Sequence[ConformanceRule]] = (
    imprint_hashes,
    certificate_in_token,
    *of_chains(CHAIN_RULES),
    key_age,
    clock_monitor,
    clock_gate,
    clock_daily,
    monitor_daily,
    leap_second,
    clock_adjustments,
    audit,
    *UNSEEN,
)
