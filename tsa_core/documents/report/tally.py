"""Counts a trail, line by line in any order of its chains, for the period of a report.

Whatever the trail holds, the memory is bounded: of what could be without number, the first are kept, and the others
counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from tsa_core.api.trail import PRUNED, REFUSAL, TOKEN, Segment, time_of, utc_text
from tsa_core.api.trail.events import (
    CEREMONY,
    CERTIFICATE,
    CLOCK_STATE,
    CLOCK_STEP,
    DESTROYED,
    READINESS,
    RELOADED,
    STARTED,
)
from tsa_core.documents.report.spans import Minutes, Outage, moment

MOST_KINDS: Final = 500
"""Of counted things, such as reasons of refusals; what comes after is counted as OTHERS."""
OTHERS: Final = "others"
MOST_EVENTS: Final = 5_000
_MOST_REASONS: Final = 20
_MAX_TEXT: Final = 300
_MONTH: Final = slice(0, 7)


class Limited(Counter[tuple[str, ...]]):
    """Counts by key; keys beyond MOST_KINDS are counted as one."""

    def add(self, *key: str) -> None:
        """Count one."""
        if key not in self and len(self) >= MOST_KINDS:
            key = (key[0], *[OTHERS] * (len(key) - 1)) if len(key) > 1 else (OTHERS,)
        self[key] += 1


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of the trail, its details as texts that are not too long."""

    time: datetime
    kind: str
    chain: str
    details: Mapping[str, str]

    @property
    def process(self) -> str:
        """Whose it is."""
        return " ".join(filter(None, (self.chain, self.details.get("pid", ""))))


@dataclass(kw_only=True)
class CertificateUse:
    """When a certificate of a profile was seen to be taken into use, first and last."""

    first: datetime
    key: str
    serial: str
    not_after: str
    replaced: datetime | None = None


_Outages: TypeAlias = tuple[dict[str, Outage], list[Outage]]
"""Outages that go on, by process, and those that are over."""


@dataclass(kw_only=True)
class Tally:
    """What was counted between `begin` and `end`, the first moment too late, of `profile` or of all profiles."""

    begin: datetime
    end: datetime
    profile: str | None = None
    tokens: Limited = field(default_factory=Limited)
    """By month and profile."""
    refusals: Limited = field(default_factory=Limited)
    """By month, failure and reason."""
    events: list[Event] = field(default_factory=list)
    """Those that the report lists: ceremonies, steps of the clock, starts, reloads, what was accepted or pruned."""
    events_left_out: Counter[str] = field(default_factory=Counter)
    kinds: Limited = field(default_factory=Limited)
    """All lines of the period by what they are."""
    certificates: dict[tuple[str, str], CertificateUse] = field(default_factory=dict)
    gate: list[Outage] = field(default_factory=list)
    """Times in which the clock gate was closed, for each process."""
    unready: list[Outage] = field(default_factory=list)
    first: str = ""
    """The times of the first and the last line of the whole trail, as texts."""
    last: str = ""
    lines: int = 0
    outages_left_out: int = 0
    undated: int = 0
    """Lines without a time, which are in no period."""

    def __post_init__(self) -> None:
        self._from, self._to = utc_text(self.begin), utc_text(self.end)
        self.minutes = Minutes(self.begin, self.end)
        self._closed: dict[str, Outage] = {}
        self._down: dict[str, Outage] = {}

    def line(self, segment: Segment, fields: Mapping[str, Any]) -> None:
        """Count a line: what `check_trail` calls."""
        self.lines += 1
        kind = fields["type"]
        time = fields.get("gen_time") if kind == TOKEN else fields.get("time")
        if not isinstance(time, str) or len(time) != 27 or time[26] != "Z":
            known = time_of(fields)
            if known is None:
                self.undated += kind != "file"
                return
            time = utc_text(known)
        within = self._from <= time < self._to
        if within and not self.minutes.mark(time):
            self.undated += 1
            return
        self.last = max(self.last, time)
        if not self.first or time < self.first:
            self.first = time
        if kind == "event":
            self._event(segment, fields, time)
        elif kind == "close":
            self._gone(segment, fields, time)
        if not within:
            return
        self.kinds.add(str(fields.get("kind")) if kind == "event" else kind)
        if kind == TOKEN and self.profile in {None, fields.get("profile")}:
            self.tokens.add(time[_MONTH], str(fields.get("profile"))[:_MAX_TEXT])
        elif kind == REFUSAL and self.profile in {None, fields.get("profile")}:
            reason = str(fields.get("reason"))[:_MAX_TEXT]
            self.refusals.add(time[_MONTH], str(fields.get("failure"))[:_MAX_TEXT], reason)

    def finish(self) -> None:
        """End what no line has ended."""
        self.gate += self._closed.values()
        self.unready += self._down.values()
        self._closed, self._down = {}, {}

    def _event(self, segment: Segment, fields: Mapping[str, Any], text: str) -> None:
        time, kind, details = moment(text), str(fields.get("kind")), fields.get("details")
        if time is None or not isinstance(details, dict):
            return
        texts = {str(name): str(value)[:_MAX_TEXT] for name, value in details.items()}
        event = Event(time=time, kind=kind, chain=segment.chain, details=texts)
        if kind == CERTIFICATE:
            self._certificate(event)
        elif kind == CLOCK_STATE:
            working = texts.get("issuing") == "true"
            self._state((self._closed, self.gate), event, texts.get("reason", ""), working, time)
        elif kind == READINESS:
            begin = moment(texts.get("unready_since", "")) or time
            self._state((self._down, self.unready), event, texts.get("causes", ""), texts.get("ready") == "true", begin)
        elif kind in _LISTED and self.begin <= time < self.end:
            if len(self.events) < MOST_EVENTS:
                self.events.append(event)
            else:
                self.events_left_out[kind] += 1
        if kind == STARTED:
            self._end_all(event)

    def _gone(self, segment: Segment, fields: Mapping[str, Any], text: str) -> None:
        """End what went on for a process that ended in order: its gate and its readiness are no more."""
        if (time := moment(text)) is not None:
            pid = str(fields.get("pid", ""))[:_MAX_TEXT]
            self._end_all(Event(time=time, kind="close", chain=segment.chain, details={"pid": pid}))

    def _end_all(self, event: Event) -> None:
        """End what went on for the process of an event, or for the one that had its number before."""
        self._end((self._closed, self.gate), event)
        self._end((self._down, self.unready), event)

    def _state(self, outages: _Outages, event: Event, reason: str, good: bool, begin: datetime) -> None:
        """Note that something stopped to work for a process, or works again."""
        open_ones, _ = outages
        if not good:
            outage = open_ones.get(event.process)
            if outage is None and len(open_ones) < MOST_EVENTS:
                outage = open_ones[event.process] = Outage(begin=begin, end=None, processes={event.process})
            if outage is not None and reason and len(outage.reasons) < _MOST_REASONS:
                outage.reasons.add(reason)
            return
        if event.process not in open_ones and begin < event.time:  # its beginning could not be written
            open_ones[event.process] = Outage(begin=begin, end=None, processes={event.process}, reasons={reason} - {""})
        self._end(outages, event)

    def _end(self, outages: _Outages, event: Event) -> None:
        open_ones, kept = outages
        outage = open_ones.pop(event.process, None)
        if outage is None or event.time < self.begin or outage.begin >= self.end:
            return
        outage.end = event.time
        if len(kept) < MOST_EVENTS:
            kept.append(outage)
        else:
            self.outages_left_out += 1

    def _certificate(self, event: Event) -> None:
        texts, time = event.details, event.time
        profile = texts.get("profile", "")
        if (self.profile not in {None, profile}) or time >= self.end:
            return
        if fingerprint := texts.get("certificate_sha256"):
            use = self.certificates.get((profile, fingerprint))
            if use is None and len(self.certificates) < MOST_KINDS:
                self.certificates[profile, fingerprint] = CertificateUse(
                    first=time,
                    key=texts.get("key_sha256", ""),
                    serial=texts.get("certificate_serial_number", ""),
                    not_after=texts.get("not_after", ""),
                )
            elif use is not None:
                use.first = min(use.first, time)
        before = self.certificates.get((profile, texts.get("previous_certificate_sha256", "")))
        if before is not None:
            before.replaced = max(before.replaced or time, time)


_LISTED: Final = frozenset(
    {CEREMONY, DESTROYED, CLOCK_STEP, STARTED, RELOADED, PRUNED, "audit.accepted", "audit.mended"}
)
