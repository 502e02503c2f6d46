"""Which plugins a configuration selects, kind by kind, so that an empty list is seen as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tsa_core.config import Settings


def selection(settings: Settings) -> dict[str, list[str]]:
    """Return the names of the selected plugins by kind, each once; kinds of which none is selected are there too."""
    chosen = {
        "signers": [profile.scheme for profile in settings.profiles.values()],
        "clock": [settings.clock.source],
        "clock_monitors": settings.clock.active_monitors,
        "policy_selectors": settings.policy.selectors,
        "response_processors": settings.response.processors,
        "audit_sinks": settings.audit.sinks,
        "observers": settings.observe.observers,
        "health_checks": settings.health.checks,
        "routes": settings.routes.plugins,
        "guards": settings.middleware.guards,
    }
    return {kind: list(dict.fromkeys(names)) for kind, names in chosen.items()}


def kind_text(kind: str) -> str:
    """Return a kind of `selection` as people read it."""
    return kind.replace("_", " ")


def selection_text(chosen: Mapping[str, Sequence[str]]) -> str:
    """Return it in one line: `signers: file; clock: system; clock monitors: none; ...`."""
    return "; ".join(f"{kind_text(kind)}: {', '.join(names) or 'none'}" for kind, names in chosen.items())
