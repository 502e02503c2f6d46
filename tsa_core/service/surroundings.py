"""The settings around a profile that its conformance judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tsa_core.api import Signer
from tsa_core.config import Settings
from tsa_core.conformance.rule import ServiceFacts


def surroundings(
    settings: Settings, name: str, *, signers: Mapping[str, Signer], trails: Sequence[str]
) -> ServiceFacts:
    """Return the facts about the service that the profile `name` is part of.

    `signers` are those of all profiles: two key URIs may lead to one key. `trails` are the audit sinks that keep
    events.
    """
    server, clock, profile = settings.server, settings.clock, settings.profiles[name]
    return ServiceFacts(
        schemes=server.schemes,
        http_ping_only=server.http_ping_only,
        public_url=server.public_url,
        monitors=clock.active_monitors,
        on_failure=clock.on_failure,
        leap=clock.leap,
        max_holdover=clock.max_holdover,
        max_verdict_age=clock.max_verdict_age,
        step_threshold=clock.step_threshold,
        trails=trails,
        issue_until=profile.issue_until,
        enforce_intermediate_eku=profile.enforce_intermediate_eku,
        qualified=profile.qualified,
        unqualified=[
            other
            for other, found in settings.profiles.items()
            if not found.qualified and signers[other].public_key == signers[name].public_key
        ],
    )
