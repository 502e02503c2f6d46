"""Asks plugins for a key URI's scheme that no plugin is named after (decision 191)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tsa_core.api import PluginError, Provider
from tsa_core.host.discovery import InstalledPlugin
from tsa_core.host.kinds import Kind
from tsa_core.host.loading import ask_hook, at_fault


def provider_of_scheme(
    kind: Kind[Any],
    scheme: str,
    implementations: Iterable[Any],
    modules: Mapping[str, InstalledPlugin],
    check: Callable[[object, str], None],
    *,
    seconds: float,
) -> tuple[Provider[Any], InstalledPlugin | None] | None:
    """Return the provider of the scheme and the plugin that has it; None when none has.

    `implementations` are pluggy's of the hook, `modules` the plugins by module, and `check` raises for what is no
    Provider. Raises PluginError for a provider of another name, and when several have the scheme.
    """
    hook = kind.other_schemes_hook
    found: dict[str, tuple[Provider[Any], InstalledPlugin | None]] = {}
    for implementation in implementations:
        module = implementation.plugin_name
        owner = modules.get(module)
        for provider in ask_hook(hook, implementation.function, owner, module, seconds=seconds, scheme=scheme):
            check(provider, module)
            if provider.name != scheme:
                what = f"{hook} yields {provider.name!r} for the scheme {scheme!r}"
                label = owner.label if owner else module
                raise PluginError(f"the plugin {label}: {what}; {at_fault(owner)}", plugin=module)
            found[module] = provider, owner
    if len(found) > 1:
        raise PluginError(f"the {kind.label} {scheme!r} comes from both {' and '.join(sorted(found))}")
    return next(iter(found.values()), None)
