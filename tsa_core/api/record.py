"""Audit sinks, observers and health checks: what watches the authority."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from tsa_core.api.errors import AuditError
from tsa_core.api.identity import Identity
from tsa_core.api.request import ProfileSummary
from tsa_core.api.wrong_types import describe
from tsa_core.protocol.status import PKIFailureInfo


@dataclass(kw_only=True, slots=True)
class AuditRecord:
    """One token, as it is about to leave. `response` is the DER of the whole TimeStampResp.

    Read only, though not frozen: it is made for every token, and that costs 1 us.
    """

    request_id: str
    client_address: str
    profile: str
    policy: str
    serial_number: int
    gen_time: datetime
    hash_oid: str
    digest: bytes
    response: bytes = field(repr=False)
    identity: Identity | None = None
    """Who asked, when a guard has found out."""
    clock_error_bound: timedelta | None = None
    """By how much the clock was off at most, by its monitors; None when nothing has measured that."""


@dataclass(frozen=True, kw_only=True)
class AuditEvent:
    """Something that is no token but belongs into the audit trail: the clock's state changed, for example.

    `kind` is a stable word such as `clock.state`; `details` are facts as texts, names in snake case.
    """

    kind: str
    time: datetime
    details: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class RefusalRecord:
    """One request that got no token, for sinks that want to know.

    `time` is this machine's when it was refused. `reason` is the text that the requester was given. `profile`,
    `hash_oid` and `digest` are None when the request was refused before they were known.
    """

    request_id: str
    client_address: str
    time: datetime
    failure: PKIFailureInfo
    reason: str
    profile: str | None = None
    hash_oid: str | None = None
    digest: bytes | None = None
    identity: Identity | None = None


class AuditSink(ABC):
    """Keeps records. Thread-safe. All selected sinks must accept a record, or the token does not leave.

    `latency` tells the server how to run the sink. A "local" one writes to this machine's memory or disks, and is
    called on the I/O thread; a "remote" one waits for a network, and requests then run in threads. Both have to return
    within `[audit] sink_timeout`: after that the token is withheld, whatever becomes of the record. It is read once,
    after the sink was opened.
    """

    latency: Literal["local", "remote"] = "remote"
    wants_refusals: bool = False
    """Whether requests that got no token are recorded too, by `write_refusals`; read once, after it was opened."""
    keeps_events: bool = False
    """Whether an event is durable when `event` returns, which raises AuditError otherwise; read once, when it is open.

    What leaves without being a token, a countersignature, is recorded as an event. So an authority that has sinks makes
    some only when one of them keeps events, and every one that does must accept the event, or nothing leaves.
    """

    def bind(self, profiles: Sequence[ProfileSummary], timeout: timedelta) -> None:  # noqa: B027 - optional
        """Learn which profiles there are, and `[audit] sink_timeout`; called before the first record, and at a reload.

        Raises ConfigError for a profile that the settings name and that does not exist, or for a time of the sink's own
        that would not be over before `timeout`. `timestamp-server check` calls it too.
        """

    @abstractmethod
    def write(self, record: AuditRecord) -> None:
        """Store the record; it is durable when this returns. Raises AuditError, and nothing else."""

    def write_all(self, records: Sequence[AuditRecord]) -> None:
        """Store the records of tokens that leave together; all are durable when this returns.

        Raises AuditError, and nothing else: then none of the tokens leaves, whichever records are stored. A sink for
        which several at once cost less than one by one overrides this.
        """
        for record in records:
            returned: object = self.write(record)
            if returned is not None:  # a coroutine, for example, which has stored nothing
                raise AuditError(f"write returned {describe(returned)}, not None")

    def write_refusals(self, records: Sequence[RefusalRecord]) -> None:  # noqa: ARG002 - for those that want them
        """Store requests that were refused, from a background thread, after their replies have left.

        Called only when `wants_refusals` is true. Raises AuditError, which is logged and counted and stops nothing: a
        refusal that is not recorded takes no token from anybody.
        """
        raise AuditError(f"{type(self).__name__} wants refusals and has no write_refusals")

    def event(self, event: AuditEvent) -> None:  # noqa: B027 - optional: a sink may keep tokens alone
        """Store an event. Raises AuditError, and nothing else.

        From a background thread, where a failure is logged and stops nothing; but for a countersignature, whose answer
        waits for the sinks that keep events, and is withheld when one fails.
        """

    def health(self) -> HealthStatus:
        """Return whether records can be stored, for /readyz.

        Called about once a second from a thread of its own, never on a request's way, and may wait for a disk or a
        network; after 5 s without an answer /readyz is red. It should find out by itself, without a request, also that
        what was wrong is over: a sink may store a record of its own for that, `write_all` showed enough a moment ago.
        `reason` is one line that everybody may see.
        """
        return HealthStatus(healthy=True)

    def head(self) -> str | None:
        """Return the end of the trail as `NUMBER:HASH`, None when there is none or it cannot be told now.

        `NUMBER` counts records and grows. Called once a minute from a background thread. The core writes it where
        another machine can keep it: whoever makes the trail shorter later does not make that NUMBER:HASH fit again.
        """
        return None

    def close(self) -> None:  # noqa: B027 - optional
        """Release what the sink holds."""


@dataclass(kw_only=True, slots=True)
class RequestOutcome:
    """What became of one request. Read only, though not frozen: it is made for every request, and that costs 3 us.

    `failure` is None when it was granted, `reason` the text that the requester was given otherwise. `profile`,
    `hash_name` and `serial_number` are None when the request was refused before they were known. `phases_ns` holds
    nanoseconds by phase, as far as the request came: parse, wait (for a thread), clock, sign, audit (with response
    processors), and `offsets_ns` when each began, counted from the request's beginning. `failed_phase` is the one that
    failed. `algorithm` names the signature's algorithm once the signer was asked. `identity` is
    who asked, when a guard has found out.
    """

    request_id: str
    client_address: str
    profile: str | None
    failure: PKIFailureInfo | None
    hash_name: str | None
    serial_number: int | None
    duration_ns: int
    phases_ns: Mapping[str, int]
    offsets_ns: Mapping[str, int] = field(default_factory=dict)
    failed_phase: str | None = None
    algorithm: str | None = None
    reason: str = ""
    identity: Identity | None = None


class Observer(ABC):
    """Is told of every request after it was answered, in a thread of its own; its failures change nothing.

    No request waits for it. When it does not keep up, `[observe] queue_limit` outcomes wait, and more are dropped.
    """

    @abstractmethod
    def observe(self, outcome: RequestOutcome) -> None:
        """Take note. What it raises is logged."""

    def close(self) -> None:  # noqa: B027 - optional
        """Release what the observer holds."""


@dataclass(frozen=True, kw_only=True)
class HealthStatus:
    """What a sink, processor or health check says of itself; `reason` is one line, which /readyz shows to everybody."""

    healthy: bool
    reason: str = ""


class HealthCheck(ABC):
    """Adds a condition to /readyz."""

    @abstractmethod
    def check(self) -> HealthStatus:
        """Return the present state; called about once a second from a thread of its own.

        After 5 s without an answer /readyz is red.
        """

    def close(self) -> None:  # noqa: B027 - optional
        """Release what the check holds."""
