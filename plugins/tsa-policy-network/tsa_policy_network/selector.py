"""The selector: rules by network, in the order of the configuration.

It needs no permissions and sends nothing anywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tsa_core.api import (
    ConfigError,
    PKIFailureInfo,
    PolicySelector,
    ProfileSummary,
    RequestContext,
    RequestRejected,
    TimeStampReq,
)
from tsa_policy_network.client_address import Client, find_client, is_in
from tsa_policy_network.options import NetworkOptions

log = logging.getLogger(__name__)

_HEADER = "X-Forwarded-For"


class NetworkSelector(PolicySelector):
    """Applies the first rule whose networks hold the client's address."""

    def __init__(self, options: NetworkOptions) -> None:
        self._options = options
        self._policies: dict[str, tuple[str, ...]] = {}
        self._knows_unix = any("unix" in rule.networks for rule in options.rules)
        self._told: set[str] = set()

    def bind(self, profiles: Sequence[ProfileSummary]) -> None:
        """Learn the profiles; raises ConfigError for a rule that names one that does not exist."""
        self._policies = {profile.name: profile.policies for profile in profiles}
        for number, rule in enumerate(self._options.rules):
            for name in rule.profiles:
                if name not in self._policies:
                    raise ConfigError(
                        f"there is no profile {name!r}; there are: {', '.join(self._policies)}",
                        path=f"policy.network.rules.{number}.profiles",
                    )

    def select(self, request: TimeStampReq, context: RequestContext) -> str | None:
        """Return the profile of the client's network, None where no rule names one; raises RequestRejected.

        A client whose network cannot be known is refused, whatever `otherwise` says: a rule that refuses could be
        meant for it. A URL that names a profile which is not among the rule's is refused, so that a profile cannot be
        reached from where it is not offered.
        """
        trusted = self._options.trusted_proxies
        client = find_client(context.client_address, context.header(_HEADER) if trusted else None, trusted)
        if client is None or (client == "unix" and not self._knows_unix):
            self._tell_once(client)
            raise self._refusal()
        rule = next((rule for rule in self._options.rules if is_in(client, rule.networks)), None)
        if rule is None:
            if self._options.otherwise == "refuse":
                raise self._refusal()
            return None
        if rule.refuse:
            raise self._refusal()
        if not rule.profiles:
            return None
        if context.profile is not None and context.profile not in rule.profiles:
            raise RequestRejected(
                PKIFailureInfo.BAD_REQUEST,
                f"this profile is not offered to your network; use one of: {', '.join(rule.profiles)}",
            )
        policy = request.policy
        offering = (name for name in rule.profiles if policy in self._policies.get(name, ()))
        return next(offering, rule.profiles[0])

    def _tell_once(self, client: Client | None) -> None:
        """Tell the operator why clients are refused that no rule refuses; once for each reason."""
        if client is not None:
            reason = (
                "over a Unix socket, which has no network; name unix in the networks of a rule, or in trusted_proxies "
                f"when a proxy writes {_HEADER}"
            )
        elif self._options.trusted_proxies:
            reason = f"from a trusted proxy without {_HEADER}, or with one that cannot be read"
        else:
            reason = "from an address that cannot be read"
        if reason not in self._told:
            self._told.add(reason)
            log.warning("policy.network: requests are refused that come %s", reason)

    def _refusal(self) -> RequestRejected:
        # badRequest: "transaction not permitted or supported" (RFC 3161 2.4.2).
        return RequestRejected(PKIFailureInfo.BAD_REQUEST, self._options.refusal)
