"""Sentences of a statement that follow from settings: what happens to the clock, to records and at their failure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from tsa_core.config import Settings


def promises(settings: Settings, *, revocable: bool, chained: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the sentences by name, and the questions that stand where a setting tells nothing.

    `revocable` says whether a certificate names a place where its revocation is told; `chained` are the audit sinks
    whose records are a trail of the core's (`tsa_core.api.trail`): of what others keep, nothing is known.
    """
    sinks = settings.audit.sinks
    trails, others = [name for name in sinks if name in chained], [name for name in sinks if name not in chained]
    texts = {
        "audit_promise": "No time-stamp is sent before it was recorded; one that cannot be recorded is withheld."
        if sinks
        else "Time-stamps are not recorded: the configuration selects no audit sink.",
        "revocation_promise": "Check that the authority's certificate was not revoked, at the addresses that it names."
        if revocable
        else "The authority's certificate names no address at which its revocation is told.",
        "rekeying": "A new key and its certificate are taken into use by a reload of the configuration, at which no "
        "request is lost, or by a new start. The certificate's end, and not the reload, ends the validity of "
        "time-stamps of the former key.",
        "clock_promise": _clock_promise(settings),
        "clock_gate": _clock_gate(settings),
        "leap_seconds": _leap_seconds(settings),
        "audit_chain": f"The records of {', '.join(trails)} are chained by hashes, so that a changed or missing record "
        "is found; events of the clock, starts, stops, reloads and changes of certificates are among them. They hold "
        "the network address of whoever asked, and the identity where a guard has found it out."
        if trails
        else "There are no records.",
        "anchoring": _anchoring(settings),
        "transparency": "What plugins publish beside, a log of all time-stamps for example, is named in clause 1.3."
        if settings.routes.plugins
        else f"Whether {', '.join(others)} publish what they keep is not known from the settings."
        if others
        else "The configuration selects no plugin that publishes anything, such as a log of all time-stamps.",
        "privacy": f"A time-stamp holds a digest and not the document. {_privacy(settings, trails, others)}",
    }
    unknown: dict[str, str] = {}
    if others and not trails:
        unknown["audit_chain"] = (
            f"What the records of {', '.join(others)} hold, and how it is shown that none was changed or removed: the "
            "plugins do not say."
        )
    if settings.audit.sinks and not settings.audit.anchor_urls:
        unknown["anchoring"] = (
            "How it is shown that records were not cut off or rewritten as a whole: the configuration names no other "
            "authority that stamps them (audit.anchor_urls)."
        )
    return texts, unknown


def _clock_promise(settings: Settings) -> str:
    if not settings.clock.active_monitors:
        return (
            "The clock is not compared with others by the service itself. It is only noticed when the clock moves by "
            "more than the accuracy against the machine's monotonic clock."
        )
    return (
        f"All of the comparisons above must trust the clock. When none succeeds any more, the last good one is relied "
        f"upon for {_text(settings.clock.max_holdover)}, during which the clock is taken to drift by "
        f"{settings.clock.drift_ppm:g} microseconds a second. A jump by more than "
        f"{_text(settings.clock.step_threshold)} ends that at once."
    )


def _privacy(settings: Settings, trails: Collection[str], others: Collection[str]) -> str:
    """Return which records and logs hold what of those who ask."""
    texts = []
    if trails:
        texts.append(
            f"Network addresses of those who ask are recorded ({', '.join(trails)}), and their identities where a "
            "guard has found them out."
        )
    if others:
        texts.append(f"What the records of {', '.join(others)} hold of those who ask is not known from the settings.")
    if not settings.audit.sinks:
        texts.append("The configuration selects no audit sink that would record who asked.")
    if settings.log.writes_requests:
        identity = ", the identity where a guard has found it out" if settings.middleware.guards else ""
        digest = " and the digest" if settings.log.digest else ""
        texts.append(f"The log of the service has a line for each request, with the network address{identity}{digest}.")
    if observers := settings.observe.observers:
        texts.append(f"What {', '.join(observers)} pass on of requests is not known from the settings.")
    return " ".join(texts)


def _clock_gate(settings: Settings) -> str:
    clock = settings.clock
    unmonitored_warn = not clock.active_monitors and clock.unmonitored_step == "warn"
    if clock.on_failure == "warn" or unmonitored_warn:
        return (
            "When the clock cannot be trusted, time-stamps are given all the same, and the operator is warned: the "
            "stated accuracy is not guaranteed then."
        )
    if not clock.active_monitors:
        return (
            "When the clock was set by more than the accuracy, no time-stamp is given until it is set back or the "
            "service is started anew: requests are refused (timeNotAvailable). Whether the clock is right, the service "
            "cannot tell."
        )
    wider = (
        "When the clock may be off by more than a profile's accuracy, the wider accuracy stands in the time-stamp."
        if clock.widen_accuracy
        else "Likewise while the clock may be off by more than the profile's accuracy."
    )
    return (
        f"While the clock cannot be trusted, no time-stamp is given: requests are refused (timeNotAvailable). {wider}"
    )


def _leap_seconds(settings: Settings) -> str:
    return {
        "pause": "Around an announced leap second no time-stamp is given for the two seconds that are ambiguous.",
        "stop": "From a minute before an announced leap second until the clock was measured after it, no time-stamp is "
        "given.",
        "ignore": "Leap seconds are not treated specially.",
    }[settings.clock.leap]


def _anchoring(settings: Settings) -> str:
    audit = settings.audit
    if not audit.anchor_urls:
        return "There are no records."
    often = f"every {_text(audit.anchor_interval)}" if audit.anchor_interval else "at the operator's command"
    return (
        f"The end of the records is time-stamped {often} by {audit.anchor_threshold} or more of these other "
        f"authorities: {', '.join(audit.anchor_urls)}. Whoever rewrites records would have to make them stamp the past."
    )


def _text(length: timedelta) -> str:
    seconds = length.total_seconds()
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= unit and not seconds % unit:
            return f"{seconds / unit:g} {name.removesuffix('s') if seconds == unit else name}"
    return f"{seconds:g} s"
