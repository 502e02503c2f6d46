"""Registers the policy selector by network."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import PolicySelector, Provider, hookimpl
from tsa_policy_network.options import NetworkOptions


def _open(options: NetworkOptions) -> PolicySelector:
    from tsa_policy_network.selector import NetworkSelector

    return NetworkSelector(options)


@hookimpl
def tsa_policy_selectors() -> Iterable[Provider[PolicySelector]]:
    """Register the selector."""
    yield Provider(
        name="network",
        summary="A profile, or a refusal, by the client's network",
        options=NetworkOptions,
        open=_open,
    )
