"""The timestamp authority: from a request's bytes to a reply's bytes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from time import perf_counter_ns
from types import MappingProxyType
from typing import NamedTuple

from tsa_core.api import (
    AuditRecord,
    AuditSink,
    ClockError,
    Observer,
    PKIFailureInfo,
    PolicySelector,
    RequestContext,
    RequestRejected,
    ResponseProcessor,
    SignerError,
    TimeReading,
    TimeStampReq,
    TokenDraft,
    TsaError,
)
from tsa_core.authority.gate import ClockGate
from tsa_core.authority.profile import Profile
from tsa_core.authority.trace import RequestTrace
from tsa_core.config import DEFAULT_PROFILE
from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import DigestLengthMismatch, EncodingError
from tsa_core.protocol.request import read_extensions, read_request
from tsa_core.protocol.response import encode_rejection, signed_parts
from tsa_core.protocol.tstinfo import encode_serial

log = logging.getLogger(__name__)

_CANNOT_SIGN = "the timestamp cannot be signed now; try again later"
_NEVER_COPIED = frozenset({oids.ID_PE_QC_STATEMENTS})
"""Extensions that say what the authority is; a requester must not be able to have them said."""


class Reply(NamedTuple):
    """The answer to a request: the DER of a TimeStampResp, and why it refuses when it does."""

    der: bytes
    rejection: RequestRejected | None = None


class TimestampAuthority:
    """Issues timestamps for one or more profiles. Thread-safe.

    Everything that a request needs was made at start; the objects of plugins are called directly. `profiles` must
    hold `default`.
    """

    def __init__(
        self,
        *,
        profiles: Sequence[Profile],
        gate: ClockGate,
        selectors: Sequence[PolicySelector] = (),
        processors: Sequence[ResponseProcessor] = (),
        audit_sinks: Sequence[AuditSink] = (),
        observers: Sequence[Observer] = (),
    ) -> None:
        self.profiles: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in profiles})
        self.gate = gate
        self._default = self.profiles[DEFAULT_PROFILE]
        self._selectors = tuple(selector.select for selector in selectors)
        self._processors = tuple(processors)
        self._claimed = frozenset().union(*(processor.request_extensions for processor in processors))
        self._audit_sinks = tuple(audit_sinks)
        self._observers = tuple(observers)

    def respond(self, body: bytes, context: RequestContext, trace: RequestTrace | None = None) -> Reply:
        """Answer a DER request; never raises. Whatever is wrong becomes a rejection (RFC 3161 2.4.2).

        `trace` is filled in for the caller; observers are told in any case.
        """
        if trace is None and self._observers:
            trace = RequestTrace()
        try:
            request = read_request(body)
        except RequestRejected as rejection:
            self._tell_of_refusal(trace, context, rejection)
            return Reply(encode_rejection(rejection.failure, rejection.text), rejection)
        if trace is not None:
            trace.parse_ended = perf_counter_ns()
        try:
            return Reply(self.issue(request, context, trace))
        except RequestRejected as rejection:
            return Reply(encode_rejection(rejection.failure, rejection.text), rejection)

    def issue(self, request: TimeStampReq, context: RequestContext, trace: RequestTrace | None = None) -> bytes:
        """Return the DER of a granted TimeStampResp; raises RequestRejected, and nothing else, otherwise."""
        if trace is None and self._observers:
            trace = RequestTrace()
        if trace is not None:
            trace.context = context
            trace.request = request
        try:
            response = self._issue(request, context, trace)
        except Exception as error:
            rejection = self._rejection(error, context)
            self._tell_of_refusal(trace, context, rejection)
            if rejection is error:
                raise
            raise rejection from None
        if trace is not None:
            trace.ended = perf_counter_ns()
            if self._observers:
                self._tell(trace)
        return response

    def note_refusal(
        self, rejection: RequestRejected, context: RequestContext, trace: RequestTrace | None, *, waited: bool = False
    ) -> None:
        """Tell observers of a request that was refused before it came here; `waited`: it had waited too long."""
        if trace is None and self._observers:
            trace = RequestTrace()
        if trace is not None and waited:
            trace.wait_began = trace.started
        self._tell_of_refusal(trace, context, rejection)

    @staticmethod
    def _rejection(error: Exception, context: RequestContext) -> RequestRejected:
        """Return what the requester may see of a failure; the log has the rest."""
        if isinstance(error, RequestRejected):
            return error
        if isinstance(error, ClockError):
            log.error("request %s: no trusted time: %s", context.request_id, error)
            return RequestRejected(PKIFailureInfo.TIME_NOT_AVAILABLE, str(error))
        if isinstance(error, TsaError):
            log.error("request %s: %s: %s", context.request_id, type(error).__name__, error)
        else:
            log.error("request %s: unexpected failure", context.request_id, exc_info=error)
        return RequestRejected(PKIFailureInfo.SYSTEM_FAILURE, _CANNOT_SIGN)

    def _issue(self, request: TimeStampReq, context: RequestContext, trace: RequestTrace | None) -> bytes:
        profile = self._select(request, context) if self._selectors or context.profile is not None else self._default
        if trace is not None:
            trace.profile = profile.name
        self._check(request, profile)
        if profile.waits:
            if trace is not None:
                trace.wait_began = perf_counter_ns()
            context.enter(profile.name)
            if trace is not None:
                trace.wait_ended = perf_counter_ns()
        policy_der = request.policy_der or profile.default_policy_der
        if trace is not None:
            trace.clock_began = perf_counter_ns()
        reading = self._read_clock(profile)
        accuracy = None if reading.uncertainty is None else profile.accuracy_for(reading.uncertainty)
        if trace is not None:
            trace.clock_ended = perf_counter_ns()
        serial_der = encode_serial(os.urandom(20))
        draft = None
        if self._processors:
            draft = TokenDraft(
                profile=profile.name,
                policy=profile.policies_by_der[policy_der],
                serial_number=int.from_bytes(serial_der[2:], "big"),
                gen_time=reading.time,
                request=request,
                context=context,
            )
        gen_time_der, signing_time_der = profile.encode_times(reading.time)
        template = profile.template
        tst_info = template.tst_info(
            policy_der=policy_der,
            imprint_der=request.imprint_der,
            serial_der=serial_der,
            gen_time_der=gen_time_der,
            nonce_der=request.nonce_der,
            extensions=self._extensions(request, profile, draft) if draft or request.extensions else b"",
            accuracy=accuracy,
        )
        signed_attributes = template.signed_attributes(tst_info, signing_time_der)
        if trace is not None:
            trace.algorithm = profile.algorithm.name
            trace.serial_der = serial_der
            trace.sign_began = perf_counter_ns()
        signature = self._sign(profile, signed_attributes, context)
        if trace is not None:
            trace.sign_ended = perf_counter_ns()
        response = template.response(
            tst_info=tst_info,
            signed_attributes=signed_attributes,
            signature=signature,
            certificates=request.cert_req,
        )
        if draft is None and not self._audit_sinks:
            return response
        if trace is not None:
            trace.audit_began = perf_counter_ns()
        if draft is not None:
            response = self._process(response, draft)
        self._audit(
            AuditRecord(
                request_id=context.request_id,
                client_address=context.client_address,
                profile=profile.name,
                policy=profile.policies_by_der[policy_der],
                serial_number=int.from_bytes(serial_der[2:], "big"),
                gen_time=reading.time,
                hash_oid=request.hash_oid,
                digest=request.digest,
                response=response,
            )
        )
        if trace is not None:
            trace.audit_ended = perf_counter_ns()
        return response

    def _select(self, request: TimeStampReq, context: RequestContext) -> Profile:
        """Return the profile that the URL names, else the first that a selector names, else the default one."""
        chosen = context.profile
        for select in self._selectors:
            name = select(request, context)
            if name is not None and chosen is None:
                chosen = name
        if chosen is None:
            return self._default
        profile = self.profiles.get(chosen)
        if profile is None:
            log.error("request %s: a policy selector chose the unknown profile %r", context.request_id, chosen)
            raise RequestRejected(PKIFailureInfo.SYSTEM_FAILURE, _CANNOT_SIGN)
        return profile

    def _check(self, request: TimeStampReq, profile: Profile) -> None:
        """Refuse hashes, digests, policies and extensions that this profile does not accept (rules S5 to S9)."""
        algorithm = profile.hashes.get(request.hash_oid_der)
        if algorithm is None:
            known = request.hash_algorithm
            name = known.name if known else request.hash_oid[:100]
            raise RequestRejected(
                PKIFailureInfo.BAD_ALG,
                f"the hash algorithm {name} is not accepted; use one of: {profile.hash_names}",
            )
        if len(request.digest) != algorithm.digest_size:
            raise DigestLengthMismatch(
                PKIFailureInfo.BAD_DATA_FORMAT,
                f"a {algorithm.name} digest has {algorithm.digest_size} bytes, the request's has {len(request.digest)}",
            )
        if request.extensions:
            self._check_extensions(request, profile)
        if request.policy_der and request.policy_der not in profile.policies_by_der:
            raise RequestRejected(
                PKIFailureInfo.UNACCEPTED_POLICY,
                f"the policy {der.dotted(request.policy_der)[:100]} is not offered here; "
                f"leave it out or ask for one of: {', '.join(profile.policies)}",
            )

    def _check_extensions(self, request: TimeStampReq, profile: Profile) -> None:
        for extension in request.extensions:
            if extension.oid not in self._claimed and (
                extension.oid in _NEVER_COPIED or not profile.settings.allow_custom_extensions
            ):
                raise RequestRejected(
                    PKIFailureInfo.UNACCEPTED_EXTENSION,
                    f"the request extension {extension.oid[:100]} is not accepted; leave it out",
                )

    def _read_clock(self, profile: Profile) -> TimeReading:
        reading = profile.read_clock()
        if not profile.not_before <= reading.time <= profile.not_after:
            reason = profile.outside_period(reading.time)
            log.error("profile %s: no token for %s: %s", profile.name, reading.time, reason)
            raise RequestRejected(PKIFailureInfo.SYSTEM_FAILURE, f"this authority may not issue now: {reason}")
        return reading

    def _extensions(self, request: TimeStampReq, profile: Profile, draft: TokenDraft | None) -> bytes:
        """Return the encoded extensions beyond the template's: the request's if copied, then the processors'."""
        copied = profile.settings.allow_custom_extensions and request.extensions
        parts = [e.der for e in request.extensions if e.oid not in self._claimed] if copied else []
        if draft is not None:
            for processor in self._processors:
                parts.extend(processor.extend(draft))
        extensions = b"".join(parts)
        if extensions:
            try:
                read_extensions(profile.template.extensions + extensions)
            except (EncodingError, RequestRejected) as error:
                raise TsaError(f"the extensions of the token are wrong: {error}") from None
        return extensions

    def _sign(self, profile: Profile, message: bytes, context: RequestContext) -> bytes:
        signer = profile.signer
        try:
            signature = signer.sign(message, timeout=profile.sign_timeout)
        except SignerError:
            profile.available = False
            raise
        except Exception as error:
            profile.available = False
            log.exception(
                "request %s: the signer plugin %r of profile %r crashed",
                context.request_id,
                profile.settings.scheme,
                profile.name,
            )
            raise SignerError(f"the signer plugin {profile.settings.scheme!r} crashed") from error
        if profile.settings.verify_signatures and not profile.algorithm.is_valid(signer.public_key, signature, message):
            profile.available = False
            raise SignerError(f"profile {profile.name}: the signature does not verify; the key may have changed")
        profile.available = True
        return signature

    def _process(self, response: bytes, draft: TokenDraft) -> bytes:
        before = signed_parts(response)
        for processor in self._processors:
            response = processor.process(response, draft)
        if signed_parts(response) != before:
            raise TsaError("a response processor changed bytes under the signature; the reply is withheld")
        return response

    def _audit(self, record: AuditRecord) -> None:
        for sink in self._audit_sinks:
            sink.write(record)

    def _tell_of_refusal(self, trace: RequestTrace | None, context: RequestContext, rejection: RequestRejected) -> None:
        if trace is not None:
            trace.refuse(context, rejection.failure, rejection.text)
            if self._observers:
                self._tell(trace)

    def _tell(self, trace: RequestTrace) -> None:
        outcome = trace.outcome()
        for observer in self._observers:
            try:
                observer.observe(outcome)
            except Exception:
                log.exception("the observer %s crashed", type(observer).__name__)
