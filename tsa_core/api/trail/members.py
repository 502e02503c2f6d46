"""What the lines of records say: the members of a token's line, of a refusal's and of an event's, without their chain.

The same for every sink, so that one verifier, one search and one export serve them all.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from tsa_core.api.identity import Identity
from tsa_core.api.record import AuditEvent, AuditRecord, RefusalRecord
from tsa_core.api.trail.chain import encode, json_string

_MICROSECOND = timedelta(microseconds=1)


def utc_text(moment: datetime) -> str:
    """Return a time as lines have it: UTC, with six digits of the second."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="microseconds")[:26] + "Z"


def identity_members(identity: Identity | None) -> Mapping[str, str]:
    """Return who asked, as far as it is known: identity, tenant and how."""
    if identity is None:
        return {}
    texts = {"identity": identity.name, "tenant": identity.tenant, "how": identity.how}
    return {name: text for name, text in texts.items() if text}


class _Second:
    """The texts of all times within one second, up to the microseconds; they cost more than the rest of a line."""

    __slots__ = ("start", "stop", "text")

    def __init__(self, moment: datetime) -> None:
        self.start = moment.replace(microsecond=0)
        self.stop = self.start + timedelta(seconds=1)
        self.text = utc_text(self.start)[:-7]


class TokenMembers:
    """Encodes records of tokens; call it with one. Thread-safe.

    `digests` says whether the digest that was timestamped is among the members, `tokens` whether the whole reply is.
    """

    def __init__(self, *, digests: bool, tokens: bool) -> None:
        self._digests = digests
        self._tokens = tokens
        self._texts: dict[tuple[str, str, str], str] = {}
        """What is the same for many tokens: as many as profiles, policies and hashes are configured."""
        self._second = _Second(datetime.min.replace(tzinfo=UTC))

    def __call__(self, record: AuditRecord) -> str:
        """Return the members of the record's line."""
        same = (record.profile, record.policy, record.hash_oid)
        if (text := self._texts.get(same)) is None:
            text = self._texts[same] = encode(dict(zip(("profile", "policy", "hash_oid"), same, strict=True)))
        time = record.gen_time
        second = self._second
        if not second.start <= time < second.stop:
            second = self._second = _Second(time)
        members = (
            f'"type":"token","serial":"{record.serial_number:040x}","gen_time":"{second.text}{time.microsecond:06d}Z",'
            f'{text},"request_id":{json_string(record.request_id)},"client":{json_string(record.client_address)}'
        )
        if (bound := record.clock_error_bound) is not None:
            members += f',"clock_error_bound_us":{bound // _MICROSECOND}'
        if record.identity is not None:
            members += f",{encode(identity_members(record.identity))}"
        if self._digests:
            members += f',"digest":"{record.digest.hex()}"'
        if self._tokens:
            members += f',"response":"{base64.b64encode(record.response).decode("ascii")}"'
        return members


def refusal_members(record: RefusalRecord, *, digests: bool) -> str:
    """Return the members of a refused request's line; what was not known when it was refused is left out."""
    known = {"profile": record.profile, "hash_oid": record.hash_oid}
    fields = {
        "type": "refusal",
        "time": utc_text(record.time),
        "failure": record.failure.text,
        "reason": record.reason,
        **{name: text for name, text in known.items() if text is not None},
        "request_id": record.request_id,
        "client": record.client_address,
        **identity_members(record.identity),
    }
    if digests and record.digest is not None:
        fields["digest"] = record.digest.hex()
    return encode(fields)


def event_members(event: AuditEvent) -> str:
    """Return the members of an event's line."""
    return encode({"type": "event", "kind": event.kind, "time": utc_text(event.time), "details": dict(event.details)})
