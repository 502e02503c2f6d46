"""What is wrong with a profile in the eyes of several standards; each has a rule of its own, with its clause."""

from __future__ import annotations

from tsa_core.conformance.rule import Case


def certificate_left_out(case: Case) -> str | None:
    """Complain of tokens without their signer's certificate."""
    return None if case.tokens.signer_certificate else 'certReq would be ignored; write "intermediates"'


def sha1_accepted(case: Case) -> str | None:
    """Complain of imprints with SHA-1."""
    return "SHA-1 is accepted; leave it out" if "sha1" in case.tokens.hashes else None


def clock_unwatched(case: Case) -> str | None:
    """Complain of a clock without a monitor."""
    return None if case.service.monitors else 'nobody watches the clock; write monitors = ["ntp"], or ["chrony"]'


def gate_open(case: Case) -> str | None:
    """Complain of a clock gate that lets tokens pass whatever the clock shows."""
    if case.service.on_failure == "refuse":
        return None
    return 'tokens would be made while the clock cannot be trusted; leave it out, or write "refuse"'


def leap_second_ignored(case: Case) -> str | None:
    """Complain of tokens in a second that is there twice."""
    if case.service.leap != "ignore":
        return None
    return 'tokens would be made in the two seconds that are ambiguous; write "pause" or "stop"'


def clock_events_lost(case: Case) -> str | None:
    """Complain of an audit trail that has no events, such as what becomes of the clock."""
    if case.service.trails:
        return None
    return (
        'nothing records what becomes of the clock; write sinks = ["auditfile"], or another audit sink that keeps '
        "events"
    )
