"""Selects the profile whose policies include that of the request."""

from __future__ import annotations

from collections.abc import Sequence

from tsa_core.api import NoOptions, PolicySelector, ProfileSummary, RequestContext, TimeStampReq
from tsa_core.protocol import der


class OidPolicySelector(PolicySelector):
    """Maps reqPolicy to a profile.

    Where several profiles list a policy, the default profile gets its requests, else the first one in the
    configuration; the others can be reached by URL. For a request without a policy, or with an unlisted one, the next
    selector decides.
    """

    def __init__(self) -> None:
        self._profiles: dict[bytes, str] = {}

    def bind(self, profiles: Sequence[ProfileSummary]) -> None:
        """Store which profile lists which policy; the default profile comes first."""
        for profile in profiles:
            for policy in profile.policies:
                self._profiles.setdefault(der.oid(policy), profile.name)

    def select(self, request: TimeStampReq, context: RequestContext) -> str | None:  # noqa: ARG002 - only the OID matters
        """Return the profile of the requested policy."""
        return self._profiles.get(request.policy_der)


def open_selector(_options: NoOptions) -> OidPolicySelector:
    """Open the selector; `bind` gives it the profiles."""
    return OidPolicySelector()
