"""Opens the trail of an audit sink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsa_core.api import AuditSink, PluginError, PluginOptions, Provider
from tsa_core.api.wrong_types import describe
from tsa_core.host.discovery import InstalledPlugin
from tsa_core.host.loading import ask_plugin, at_fault

if TYPE_CHECKING:
    from tsa_core.api.trail import Trail


def trail_of(
    provider: Provider[AuditSink], options: PluginOptions, plugin: InstalledPlugin | None, *, seconds: float
) -> Trail:
    """Return the trail of a sink with these options; raises PluginError, PluginCrash or what the sink raises."""
    from tsa_core.api.trail import Trail  # nothing but commands on a trail, and anchoring, loads it

    name = provider.name
    if provider.open_trail is None:
        raise PluginError(f"the records of the audit sink {name!r} cannot be read back, only written", plugin=name)
    open_trail = provider.open_trail
    trail: object = ask_plugin(
        lambda: open_trail(options),
        what=f"the audit sink {name!r}",
        asked="open_trail",
        name=name,
        plugin=plugin,
        seconds=seconds,
    )
    if not isinstance(trail, Trail):
        raise PluginError(
            f"the audit sink {name!r}: open_trail returned {describe(trail)}, not a Trail; {at_fault(plugin)}",
            plugin=name,
        )
    return trail
