"""Chooses the profile that lists the policy which the request asks for."""

from __future__ import annotations

from collections.abc import Sequence

from tsa_core.api import NoOptions, PolicySelector, ProfileSummary, RequestContext, TimeStampReq
from tsa_core.protocol import der


class OidPolicySelector(PolicySelector):
    """Maps reqPolicy to a profile.

    A policy that several profiles list belongs to the first of them in the configuration, the default profile
    before all others; the rest of them are reached by URL. A request without a policy, or with one that nobody
    lists, is left to the next selector.
    """

    def __init__(self) -> None:
        self._profiles: dict[bytes, str] = {}

    def bind(self, profiles: Sequence[ProfileSummary]) -> None:
        """Learn which profile lists which policy; the default profile comes first."""
        for profile in profiles:
            for policy in profile.policies:
                self._profiles.setdefault(der.oid(policy), profile.name)

    def select(self, request: TimeStampReq, context: RequestContext) -> str | None:  # noqa: ARG002 - the OID says all
        """Return the profile of the requested policy."""
        return self._profiles.get(request.policy_der)


def open_selector(_options: NoOptions) -> OidPolicySelector:
    """Open the selector; it learns the profiles when it is bound."""
    return OidPolicySelector()
