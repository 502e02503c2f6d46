"""A profile at run time: one TSA identity, with everything constant computed once."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType

from tsa_core.api import (
    ConfigError,
    LocalKeySigner,
    PKIFailureInfo,
    PluginCrash,
    PluginError,
    ProfileSummary,
    RequestRejected,
    Signer,
    SignerError,
    SignerUnavailable,
    TimeStampReq,
    TsaError,
)
from tsa_core.api.time_limit import Overdue, told, within_limit
from tsa_core.api.wrong_types import describe
from tsa_core.authority.awaited_signer import NOT_REACHED, AwaitedSigner
from tsa_core.authority.batch_guard import BatchGuard
from tsa_core.authority.causes import Cause, CauseKind
from tsa_core.authority.chain import CertificateChain, chain_of, check_chain, load_chain
from tsa_core.authority.conforming import conform
from tsa_core.authority.gate import ClockGate
from tsa_core.authority.ordered_clock import OrderedClock
from tsa_core.authority.plugin_calls import DEFAULT_THREADS, PluginCalls
from tsa_core.authority.stated_accuracy import StatedAccuracy
from tsa_core.authority.validity import (
    OF_CERTIFICATE,
    OF_KEY,
    IssuingPeriod,
    days_between,
    ended_earlier,
    issuing_period,
)
from tsa_core.config import ProfileSettings
from tsa_core.conformance.profiles import Conformance
from tsa_core.conformance.rule import End, ServiceFacts
from tsa_core.protocol import der
from tsa_core.protocol.hashes import IMPRINT_HASHES, SHA1, HashAlgorithm
from tsa_core.protocol.signatures import is_quick_to_verify
from tsa_core.protocol.template import TokenTemplate
from tsa_core.protocol.tstinfo import QUALIFIED_STATEMENT, TimeEncoder

log = logging.getLogger(__name__)

_TRIAL_MESSAGE = b"tsa-core trial signature"
_GRACE_SECONDS = 0.5
"""How much longer than `signer_timeout` a signature may take: signers end their attempts at that time themselves."""
_TRIAL_GRACE_SECONDS = 5.0
"""How much longer than `signer_timeout` the trial signature may take before it counts as hanging."""
_SIGNER_FAILED = "the signer cannot sign now"


class Profile:
    """One TSA identity: signer, chain, policies, hashes and the template of its tokens.

    The constructor raises ConfigError for a chain that must not issue, KeyMismatch for the chain of another key, and
    SignerError when the trial signature fails or does not verify. `chain` is the certificate chain, when it was read
    before. `previous` is the profile that a reload replaces by this one. `distribution` is where the signer's plugin
    comes from, for messages. A signer that waits makes at most `threads` signatures at the same time, the core's own
    time limit included. With `may_wait`, a signer that is unavailable is no error, but the cause `signing`.
    `surroundings` are the settings around the profile that its `conformance` judges.
    """

    sign: Callable[[bytes], bytes]
    """Signs what `to_sign` returns."""

    def __init__(
        self,
        name: str,
        settings: ProfileSettings,
        signer: Signer,
        gate: ClockGate,
        *,
        chain: CertificateChain | None = None,
        previous: Profile | None = None,
        distribution: str = "",
        threads: int = DEFAULT_THREADS,
        may_wait: bool = False,
        surroundings: ServiceFacts | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self._signer_label = f"the signer {settings.scheme!r}{f' ({distribution})' if distribution else ''}"
        self.sign_timeout = settings.signer_timeout.total_seconds()
        self._use(signer)
        self.waits = signer.latency == "remote"
        """Whether a signature waits for a backend, so that the I/O thread must not make it."""
        self.parallel = signer.parallel and not self.waits
        """Whether a second thread may sign a share of a batch."""
        self.chain = chain or self._load_chain()
        check_chain(
            self.chain,
            signer,
            where=f"profiles.{name}.certificate_chain",
            enforce_intermediate_eku=settings.enforce_intermediate_eku,
        )
        self.signing = Cause(CauseKind.SIGNER, name, profile=name)
        """Active when the last signature failed."""
        self._try_signer(may_wait=may_wait)
        self.hangs = Cause(CauseKind.SIGNER, name, profile=name)
        """Active while the signer does not return, although its time is over."""
        self._calls = self._limit_calls(threads)
        self.sign = self.sign_within_limit if self.waits else self.sign
        believed = _is_the_cores_own(signer)
        self.verifies = not believed if settings.verify_signatures is None else settings.verify_signatures
        """Whether every signature is verified: unless the settings say, all that is not the core's own work."""
        self.accepts_in_batch = is_quick_to_verify(signer.public_key)
        """Whether what threads have signed is verified in batches, one after the other, and not in those threads."""

        self.conformance = self._conform(surroundings) if settings.conformance else None
        """What its tokens conform to, None without `conformance` in the settings."""
        self._period = self._issuing_period()
        self.not_before: datetime = self._period.not_before
        """The first instant of tokens: of the whole chain, and of the key's usage period unless settings exclude it."""
        self.not_after: datetime = self._period.not_after
        """The last instant of tokens."""
        self.hash_ends: Mapping[str, End] = self.conformance.hash_ends if self.conformance else {}
        """When its conformance ends an accepted hash; empty but for that, so that a request costs nothing."""
        self._refuse_outside_period()
        # The first policy is the default; a request that names none gets it (RFC 3161 2.4.1).
        self.policies = tuple(dict.fromkeys(settings.policies))
        self.policies_by_der = {der.oid(policy): policy for policy in self.policies}
        self.default_policy_der = der.oid(self.policies[0])
        self.hashes = MappingProxyType({h.oid_der: h for h in self._accepted_hashes()})
        self.encode_times = TimeEncoder(fraction_digits=settings.fraction_digits).encode
        self._ordered_clock: OrderedClock | None = self._order(gate, previous) if settings.ordering else None
        self.read_clock = (self._ordered_clock or gate).read
        """Returns the time for one token; raises ClockError."""
        widest = self.conformance.widest_accuracy if self.conformance else None
        stated = StatedAccuracy(name, settings, gate.settings, widest=widest)
        self.accuracy_for = stated.for_bound
        """Returns what a token must state beside the profile's own accuracy; raises ClockError when it cannot."""
        gate.promise(name, stated.allowed, widest=settings.widest_clock_error or widest)
        self.template = TokenTemplate(
            signer_certificate=self.chain.selection("leaf")[0],
            certificates=self.chain.selection(settings.include_chain),
            algorithm=self.algorithm,
            accuracy=stated.constant,
            ordering=settings.ordering,
            tsa_name=settings.tsa_name,
            algorithm_protection=settings.algorithm_protection,
            extensions=[QUALIFIED_STATEMENT] if settings.qualified else [],
        )
        self.certificate_chain_pem = self.chain.pem()
        self.signed = True
        """Set by each signature, for whoever wants to know and clears it."""

    def _use(self, signer: Signer) -> None:
        """Sign with this signer."""
        self.signer = signer
        self.algorithm = signer.algorithm
        self.digest = self.algorithm.digest.new if signer.sign_digest else None
        """Hashes a message for `sign`; None where `sign` takes the message."""
        self._ask_signer = signer.sign_digest or partial(signer.sign, timeout=self.sign_timeout)
        self.sign = self._ask_signer

    def with_signer(self, signer: Signer) -> Profile:
        """Return this profile with another signer of the same key, for what is no token; limits and causes are shared.

        Raises what a trial signature raises.
        """
        other = copy.copy(self)
        other._use(signer)
        other._trial_within_limit()
        return other

    @property
    def period(self) -> IssuingPeriod:
        """The time in which it may issue, and what ends it."""
        return self._period

    @property
    def prepares_in_batch(self) -> bool:
        """Whether what threads sign is prepared in batches: not where times are ordered, since each request waits."""
        return not self.settings.ordering

    @property
    def longest_signature(self) -> float:
        """Seconds after which a signature in a thread that may wait is given up."""
        return self.sign_timeout + _GRACE_SECONDS

    @property
    def signer_failed(self) -> str:
        """The reason of `signing` after a signature failed."""
        awaited = isinstance(self.signer, AwaitedSigner) and not self.signer.reached
        return NOT_REACHED if awaited else _SIGNER_FAILED

    @property
    def available(self) -> bool:
        """Whether the last signature succeeded."""
        return not self.signing.reason

    def _conform(self, surroundings: ServiceFacts | None) -> Conformance:
        """Return what the profile conforms to; raises ConfigError, a line for each demand that is not fulfilled."""
        return conform(
            self.name,
            self.settings,
            signer=self.signer,
            chain=self.chain,
            hashes=self._accepted_hashes(),
            surroundings=surroundings,
        )

    def _issuing_period(self) -> IssuingPeriod:
        """Return when the profile may issue; raises ConfigError for a certificate that does not say it."""
        try:
            period = issuing_period(self.chain.certificates, until=self.settings.issue_until)
        except ValueError as error:
            raise ConfigError(
                f'{error}; issue the certificate again, or set issue_until = "certificate"',
                path=f"profiles.{self.name}.certificate_chain",
            ) from None
        return ended_earlier(period, self.conformance.ends) if self.conformance is not None else period

    def _order(self, gate: ClockGate, previous: Profile | None) -> OrderedClock:
        """Return the clock whose readings increase, also across a reload."""
        return OrderedClock(
            gate,
            fraction_digits=self.settings.fraction_digits,
            after=previous._ordered_clock if previous else None,
        )

    def refuse_ended_hash(self, request: TimeStampReq, time: datetime) -> None:
        """Raise RequestRejected for an imprint hash that had ended at `time`, by the profile's conformance."""
        name = self.hashes[request.hash_oid_der].name
        end = self.hash_ends.get(name)
        if end is not None and time > end.moment:
            raise RequestRejected(
                PKIFailureInfo.BAD_ALG, f"the hash algorithm {name} is not accepted any more: {end.what}"
            )

    def _load_chain(self) -> CertificateChain:
        if self.settings.certificate_chain is not None:
            return load_chain(self.settings.certificate_chain)
        if own := self.signer.certificate_chain():
            return chain_of(own)
        raise ConfigError(
            f"the signer {self.settings.scheme!r} needs a certificate chain; give a PEM file, TSA certificate "
            "first (--certificate-chain-path)",
            path=f"profiles.{self.name}.certificate_chain",
        )

    def _refuse_outside_period(self) -> None:
        """Raise ConfigError when the key may not be used now; check_chain has checked the certificates."""
        now = datetime.now(UTC)
        if self.not_before <= now <= self.not_after:
            return
        verb = "begins" if now < self.not_before else "ended"
        when = self.not_before if now < self.not_before else self.not_after
        raise ConfigError(
            f"the private key usage period of the TSA certificate {verb} on {when:%Y-%m-%d %H:%M:%S}Z; "
            'take a new key and certificate into use, or set issue_until = "certificate"',
            path=f"profiles.{self.name}.certificate_chain",
        )

    def _accepted_hashes(self) -> list[HashAlgorithm]:
        accepted = [IMPRINT_HASHES[name] for name in self.settings.hashes]
        return [*accepted, SHA1] if self.settings.accept_sha1 else accepted

    @property
    def hash_names(self) -> str:
        """The names of the accepted hashes, as text."""
        return ", ".join(algorithm.name for algorithm in self.hashes.values())

    @property
    def summary(self) -> ProfileSummary:
        """The summary for policy selectors."""
        return ProfileSummary(name=self.name, policies=self.policies)

    def days_remaining(self, now: datetime | None = None) -> float:
        """Return the days until this profile stops issuing, negative afterwards; `now` defaults to the current time."""
        return days_between(now or datetime.now(UTC), self.not_after)

    def outside_period(self, time: datetime) -> str:
        """Return why no token may state `time`, as a text for requesters; empty when one may."""
        if self.not_before <= time <= self.not_after:
            return ""
        limit = self._period.begins_with if time < self.not_before else self._period.ends_with
        if limit == OF_CERTIFICATE:
            return "a certificate of the chain is not valid now"
        if limit != OF_KEY:
            return f"the {limit} is over"
        return "the private key usage period of the certificate is over or has not begun"

    def to_sign(self, message: bytes) -> bytes:
        """Return what `sign` takes: the digest of a message for a key in this process's memory, else the message."""
        return self.digest(message).digest() if self.digest is not None else message

    def _limit_calls(self, threads: int) -> PluginCalls:
        return PluginCalls(
            f"{self._signer_label} of the profile {self.name!r}",
            seconds=self.longest_signature,
            hangs=self.hangs,
            error=SignerUnavailable,
            threads=threads + 1,  # one for trial signatures
        )

    def sign_within_limit(self, to_sign: bytes) -> bytes:
        """Do what `sign` does, in a thread that may wait, and give up in time whatever the signer does."""
        return self._calls.call(partial(self._ask_signer, to_sign))

    def sign_here(self, to_sign: bytes, guard: BatchGuard) -> bytes:
        """Do what `sign` does, in this thread; whoever looks at the guard gives up in time."""
        return self._calls.call_here(partial(self._ask_signer, to_sign), guard)

    def close(self) -> None:
        """End the threads that call the signer."""
        self._calls.close()

    def trial_signature(self) -> None:
        """Make a signature and verify it; raises SignerError when either fails, PluginError for no signature at all."""
        signature: object = self.sign(self.to_sign(_TRIAL_MESSAGE))
        if not isinstance(signature, bytes):
            raise self.no_signature(signature)
        if not self.algorithm.is_valid(self.signer.public_key, signature, _TRIAL_MESSAGE):
            raise SignerError(
                f"profiles.{self.name}.signer: the trial signature does not verify under the signer's own public "
                f"key ({self.algorithm.name}); {self._signer_label} is broken or its key changed"
            )

    def _try_signer(self, *, may_wait: bool) -> None:
        """Make the first trial signature; one that is unavailable is the cause `signing`, if it may be waited for."""
        try:
            self._trial_within_limit()
        except SignerUnavailable:
            if not may_wait:
                raise
            self.signing.set(self.signer_failed)

    def _trial_within_limit(self) -> None:
        """Make the first trial signature, of a signer that may hang or raise what it should not."""
        seconds = self.sign_timeout + _TRIAL_GRACE_SECONDS
        where = f"profiles.{self.name}.signer: {self._signer_label}"
        try:
            within_limit(self.trial_signature, seconds=seconds, name=f"trial-{self.name}")
        except Overdue:
            raise PluginError(
                f"{where} made no trial signature within {seconds:g} s: it hangs, although it was told to give up "
                f"after {self.sign_timeout:g} s (signer_timeout)",
                plugin=self.settings.scheme,
            ) from None
        except SignerUnavailable as error:
            raise SignerUnavailable(f"{where}: {error}") from error
        except TsaError:
            raise
        except Exception as error:
            log.debug("the trial signature of %s failed", self.name, exc_info=True)
            raise PluginCrash(
                f"{where} failed in the trial signature: {told(error)}", plugin=self.settings.scheme
            ) from error

    def no_signature(self, returned: object) -> PluginError:
        """Return the error to raise when the signer returned something else than bytes."""
        return PluginError(
            f"profiles.{self.name}.signer: {self._signer_label}: sign returned {describe(returned)}, not bytes",
            plugin=self.settings.scheme,
        )


def _is_the_cores_own(signer: Signer) -> bool:
    """Say whether the core signs, with a key in memory, and the plugin has only found the key."""
    return isinstance(signer, LocalKeySigner) and type(signer).sign is LocalKeySigner.sign
