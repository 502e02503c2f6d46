"""The core's own plugin: the system clock and the policy selector by OID."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import Clock, PolicySelector, Provider, hookimpl
from tsa_core.builtin.clock import open_clock
from tsa_core.builtin.policy import open_selector


@hookimpl
def tsa_clocks() -> Iterable[Provider[Clock]]:
    """Register the system clock."""
    yield Provider(name="system", summary="The operating system's clock", open=open_clock)


@hookimpl
def tsa_policy_selectors() -> Iterable[Provider[PolicySelector]]:
    """Register the selector by policy OID."""
    yield Provider(name="oid", summary="The profile that lists the requested policy OID", open=open_selector)
