"""Countersignatures: what protects tokens protects them too, though they are none.

The profile's key signs the value of another signature with the time. Selectors and identities may refuse, the clock
gate and the profile's period hold, the signer has its time limit, and the audit sinks store an event before anything
leaves.
There is no serial number, no policy, no nonce and no accuracy in a countersignature.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from time import perf_counter_ns
from typing import Final, NamedTuple

from tsa_core.api import (
    AuditEvent,
    ClockError,
    ConfigError,
    Countersigner,
    RouteRequest,
    TimeStampReq,
)
from tsa_core.api.trail import identity_members
from tsa_core.authority.admission import Admission
from tsa_core.authority.audit_sinks import AuditSinks
from tsa_core.authority.pending_request import PendingRequest, Stamp, WorkOnBatch, context_of
from tsa_core.authority.profile import Profile
from tsa_core.authority.replies import Replies
from tsa_core.authority.request_trace import RequestTrace
from tsa_core.protocol import der
from tsa_core.protocol.countersignature import CountersignatureTemplate, EncodedCountersignature

EVENT: Final = "countersignature"
"""The kind of the audit event."""


class AuthorityParts(NamedTuple):
    """What a countersigner uses of the authority: `stamp` reads the clock for a request, `sign` signs what it has."""

    profiles: Mapping[str, Profile]
    admission: Admission
    sinks: AuditSinks
    replies: Replies
    stamp: Callable[[PendingRequest], Stamp]
    sign: Callable[[PendingRequest], None]


class ProfileCountersigner(Countersigner):
    """Countersigns for a profile. Thread-safe. Raises ConfigError for a profile that must not or cannot.

    `within` are the seconds after which whoever asks for a countersignature is given up.
    """

    def __init__(self, profile: Profile, protocol: str, parts: AuthorityParts, *, sha1: bool, within: float) -> None:
        for other in parts.profiles.values():  # itself too; qualified profiles have a conformance
            if other.settings.conformance and other.signer.public_key == profile.signer.public_key:
                raise ConfigError(
                    f"the key of the profile {profile.name!r} makes tokens that conform to "
                    f"{', '.join(other.settings.conformance)} (profiles.{other.name}.conformance), so it may sign "
                    "nothing else (RFC 3161 2.1); give a profile with a key of its own"
                )
        if parts.sinks.lose_events:
            raise ConfigError(
                "no audit sink keeps events, so nothing would tell what was countersigned; add one that does, such as "
                "the sink auditfile"
            )
        longest = profile.longest_signature + parts.sinks.longest_event
        if longest >= within:
            raise ConfigError(
                f"a countersignature may take {longest:g} s: profiles.{profile.name}.signer_timeout, and "
                f"audit.sink_timeout for each sink that keeps events; routes.handler_timeout ends it after {within:g} "
                f's; set that to "{math.floor(longest) + 1}s" or more, or the others lower'
            )
        if sha1:
            profile = _with_sha1(profile)
        self._profile = profile
        self._protocol = protocol
        self._parts = parts
        # Clients look for the issuers here and nowhere else.
        full = profile.settings.include_chain == "full"
        self._template = CountersignatureTemplate(
            signer_certificate=profile.chain.selection("leaf")[0],
            certificates=profile.chain.selection("full" if full else "intermediates"),
            algorithm=profile.algorithm,
        )
        self.algorithm = profile.algorithm.name

    def countersign(self, content: bytes, request: RouteRequest) -> bytes:
        """Return the DER ContentInfo; raises RequestRejected, and nothing else."""
        trace = request.trace if isinstance(request.trace, RequestTrace) else RequestTrace()
        pending = PendingRequest(context_of(request, self._profile.name), trace)
        try:
            self._answer(pending, content, trace)
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a plugin is no reason to end
            self._parts.replies.fail(pending, error)
        else:
            self._parts.replies.grant(pending)
        reply = pending.answered
        if reply.rejection is not None:
            raise reply.rejection
        return reply.der

    def _answer(self, pending: PendingRequest, content: bytes, trace: RequestTrace) -> None:
        profile, template = self._profile, self._template
        digest = template.digest.digest(content)
        if self._parts.replies.observed:
            trace.context = pending.context
        trace.request = pending.request = self._as_request(digest)
        trace.parse_ended = perf_counter_ns()
        trace.profile = profile.name
        pending.profile = profile
        self._parts.admission.profile(pending.request, pending.context)
        pending.batch = WorkOnBatch(None)
        pending.serial_der = b""
        trace.clock_began = perf_counter_ns()
        pending.stamp = stamp = self._parts.stamp(pending)
        if stamp.accuracy is not None and not profile.settings.states_measured_accuracy:
            # Widened: a token would say so, and a countersignature cannot.
            raise ClockError("the clock may be off by more than the accuracy that timestamps state here")
        trace.clock_ended = perf_counter_ns()
        # The second that has begun: it is not later than the clock, and less than a second earlier.
        pending.signed_attributes = attributes = template.signed_attributes(digest, stamp.signing_time_der)
        pending.to_sign = profile.to_sign(attributes)
        self._parts.sign(pending)
        encoded = template.encode(content, attributes, pending.signature)
        pending.response = encoded.content_info
        if self._parts.sinks:
            trace.audit_began = perf_counter_ns()
            details = self._details(pending, digest, encoded)
            self._parts.sinks.store_event(AuditEvent(kind=EVENT, time=stamp.time, details=details))

    def _as_request(self, digest: bytes) -> TimeStampReq:
        """Return what a selector is asked about: the same content in an RFC 3161 request."""
        algorithm = self._template.digest
        return TimeStampReq(
            imprint_der=der.sequence(der.sequence(algorithm.oid_der, der.null()), der.octet_string(digest)),
            hash_oid_der=algorithm.oid_der,
            digest=digest,
            policy_der=b"",
            nonce_der=b"",
            cert_req=True,
            extensions=(),
        )

    def _details(self, pending: PendingRequest, digest: bytes, encoded: EncodedCountersignature) -> Mapping[str, str]:
        """Return the facts of the audit event; with digest and time, the signed attributes can be made again."""
        context, bound = pending.context, pending.stamp.error_bound
        known = {} if bound is None else {"clock_error_bound_us": str(bound // timedelta(microseconds=1))}
        return {
            "protocol": self._protocol,
            "profile": self._profile.name,
            "signing_time": f"{pending.stamp.time:%Y-%m-%dT%H:%M:%SZ}",
            "hash": self._template.digest.name,
            "digest": digest.hex(),
            "algorithm": self.algorithm,
            "signer_info_sha256": hashlib.sha256(encoded.signer_info).hexdigest(),
            "request_id": context.request_id,
            "client": context.client_address,
            **known,
            **identity_members(context.identity),
        }


def _with_sha1(profile: Profile) -> Profile:
    signer = profile.signer.with_sha1()
    if signer is None:
        raise ConfigError(
            f"the signer {profile.settings.scheme!r} of the profile {profile.name!r} cannot sign SHA-1 digests: that "
            "takes an RSA key without PSS in this process's memory, such as one of the file signer"
        )
    return profile.with_signer(signer)
