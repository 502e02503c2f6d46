"""Chooses the profile of a request, and checks whether the profile accepts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tsa_core.api import (
    Identity,
    PKIFailureInfo,
    PluginCrash,
    PluginError,
    PolicySelector,
    RequestContext,
    RequestRejected,
    TimeStampReq,
    TsaError,
)
from tsa_core.api.wrong_types import describe
from tsa_core.authority.causes import CauseKind, Causes
from tsa_core.authority.plugin_calls import PluginCalls
from tsa_core.authority.profile import Profile
from tsa_core.config import DEFAULT_PROFILE
from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import DigestLengthMismatch, WeakHash

CANNOT_SIGN = "the timestamp cannot be signed now; try again later"
_NEVER_COPIED = frozenset({oids.ID_PE_QC_STATEMENTS})
"""Extensions that state what the authority is. They are never copied from a request."""
_CORE = "tsa_core."
_SELECTORS = "[policy] selectors"
"""The pool of requests whose selectors wait. No profile has such a name."""


def may_hang(selector: PolicySelector) -> bool:
    """Say whether a selector may hang, also one that is local: the core has not written it."""
    return not type(selector).__module__.startswith(_CORE)


def _check_identity(identity: Identity, profile: Profile, request: TimeStampReq) -> None:
    """Refuse a profile or a policy that this client may not use."""
    if not identity.may_use(profile.name):
        raise RequestRejected(PKIFailureInfo.BAD_REQUEST, f"this client may not use the profile {profile.name}")
    policy = profile.policies_by_der.get(request.policy_der or profile.default_policy_der)
    if identity.policies is not None and policy is not None and policy not in identity.policies:
        allowed = [each for each in profile.policies if each in identity.policies]
        advice = f"ask for one of: {', '.join(allowed)}" if allowed else "this profile has none that it may use"
        raise RequestRejected(
            PKIFailureInfo.UNACCEPTED_POLICY, f"this client may not use the policy {policy}; {advice}"
        )


def _named_by_url(_request: TimeStampReq, context: RequestContext) -> str | None:
    """Return the profile that the URL names, where there are no selectors."""
    return context.profile


class Admission:
    """Chooses among `profiles`, which include `default`. `claimed` are extensions that processors handle.

    `calls` makes the PluginCalls of a selector from what errors call it and the cause that it hangs.
    """

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        selectors: Sequence[tuple[str, PolicySelector]],
        claimed: frozenset[str],
        causes: Causes,
        calls: Callable[..., PluginCalls] = PluginCalls,
    ) -> None:
        self._profiles = profiles
        self._default = profiles[DEFAULT_PROFILE]
        self.remote = any(selector.latency == "remote" for _, selector in selectors)
        """Whether a selector waits for a network."""
        self._selectors: tuple[tuple[str, Callable[[TimeStampReq, RequestContext], str | None], PluginCalls], ...] = (
            tuple(
                (
                    name,
                    selector.select,
                    calls(f"the policy selector {name!r}", hangs=causes.add(CauseKind.POLICY, name)),
                )
                for name, selector in selectors
            )
        )
        self._choose: Callable[[TimeStampReq, RequestContext], str | None] = _named_by_url
        if selectors:
            self._choose = self._choose_within_limits if any(may_hang(each) for _, each in selectors) else self._ask
        self._asked_here: list[None] = []
        """Requests whose local selectors threads ask which must not wait: when one is there, it hangs."""
        self._claimed = claimed

    def profile(self, request: TimeStampReq, context: RequestContext) -> Profile:
        """Return the profile that the URL names, else the first that a selector names, else the default one.

        Raises TsaError alone. On the I/O thread, a selector that waits ends this run, and so does one that hangs there.
        """
        chosen = self._choose(request, context)
        profile = self._default if chosen is None else self._profiles.get(chosen)
        if profile is None:
            raise TsaError(f"there is no profile {chosen!r}")
        if context.identity is not None:
            _check_identity(context.identity, profile, request)
        return profile

    def _choose_within_limits(self, request: TimeStampReq, context: RequestContext) -> str | None:
        """Do what `_ask` does, in a thread that may wait, when a selector waits, or one hangs in another thread."""
        if self.remote or self._asked_here:
            context.enter(_SELECTORS)
            return self._ask(request, context, limited=True)
        self._asked_here.append(None)
        try:
            return self._ask(request, context)
        finally:
            self._asked_here.pop()

    def _ask(self, request: TimeStampReq, context: RequestContext, limited: bool = False) -> str | None:
        """Return what the URL or a selector names; with `limited`, no selector takes longer than it may."""
        chosen = context.profile
        for plugin, select, calls in self._selectors:
            try:
                name = calls.call(partial(select, request, context)) if limited else select(request, context)
            except TsaError as error:
                error.plugin = plugin
                raise
            except BaseException as error:
                raise PluginCrash(f"the policy selector {plugin!r} crashed", plugin=plugin) from error
            if name is not None:
                self.refuse_unknown(name, plugin)
                if chosen is None:
                    chosen = name
        return chosen

    def refuse_unknown(self, name: object, plugin: str) -> None:
        """Raise PluginError for what a selector returned, unless it is the name of a profile."""
        if not isinstance(name, str):
            raise PluginError(
                f"the policy selector {plugin!r} is wrong: select returned {describe(name)}, not a profile's name",
                plugin=plugin,
            )
        if name not in self._profiles:
            raise PluginError(
                f"the policy selector {plugin!r} is wrong: select returned {name[:64]!r}, which is no profile; "
                f"there are: {', '.join(self._profiles)}",
                plugin=plugin,
            )

    def close(self) -> None:
        """End the threads that call the selectors."""
        for *_, calls in self._selectors:
            calls.close()

    def check(self, request: TimeStampReq, profile: Profile) -> None:
        """Refuse hashes, digests, policies and extensions that this profile does not accept (rules S5 to S9)."""
        algorithm = profile.hashes.get(request.hash_oid_der)
        if algorithm is None:
            known = request.hash_algorithm
            name = known.name if known else request.hash_oid[:100]
            rejection = WeakHash if name == "sha1" else RequestRejected
            raise rejection(
                PKIFailureInfo.BAD_ALG,
                f"the hash algorithm {name} is not accepted; use one of: {profile.hash_names}",
            )
        if len(request.digest) != algorithm.digest_size:
            raise DigestLengthMismatch(
                PKIFailureInfo.BAD_DATA_FORMAT,
                f"a {algorithm.name} digest has {algorithm.digest_size} bytes, the request's has {len(request.digest)}",
            )
        if request.policy_der and request.policy_der not in profile.policies_by_der:
            raise RequestRejected(
                PKIFailureInfo.UNACCEPTED_POLICY,
                f"the policy {der.dotted(request.policy_der)[:100]} is not offered here; "
                f"leave it out or ask for one of: {', '.join(profile.policies)}",
            )
        if request.extensions:
            self._check_extensions(request, profile)

    def _check_extensions(self, request: TimeStampReq, profile: Profile) -> None:
        for extension in request.extensions:
            if extension.oid not in self._claimed and (
                extension.oid in _NEVER_COPIED or not profile.settings.allow_custom_extensions
            ):
                raise RequestRejected(
                    PKIFailureInfo.UNACCEPTED_EXTENSION,
                    f"the request extension {extension.oid[:100]} is not accepted; leave it out",
                )
