"""The settings around a profile that its conformance judges."""

from __future__ import annotations

from tsa_core.config import Settings
from tsa_core.config.models import ProfileSettings
from tsa_core.conformance.rule import ServiceFacts


def surroundings(settings: Settings, name: str) -> ServiceFacts:
    """Return the facts about the service that the profile `name` is part of."""
    server, clock, profile = settings.server, settings.clock, settings.profiles[name]
    return ServiceFacts(
        schemes=server.schemes,
        http_ping_only=server.http_ping_only,
        public_url=server.public_url,
        monitors=clock.active_monitors,
        on_failure=clock.on_failure,
        leap=clock.leap,
        max_holdover=clock.max_holdover,
        step_threshold=clock.step_threshold,
        sinks=settings.audit.sinks,
        issue_until=profile.issue_until,
        enforce_intermediate_eku=profile.enforce_intermediate_eku,
        qualified=profile.qualified,
        unqualified=[
            other for other, found in settings.profiles.items() if not found.qualified and _same_key(found, profile)
        ],
    )


def _same_key(one: ProfileSettings, other: ProfileSettings) -> bool:
    """Say whether two profiles use the same key: they name the same one, or its certificate."""
    return one.signer == other.signer or (
        one.certificate_chain is not None and one.certificate_chain == other.certificate_chain
    )
