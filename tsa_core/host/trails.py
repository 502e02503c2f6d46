"""Opens the trail of an audit sink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsa_core.api import AuditSink, PluginCrash, PluginError, PluginOptions, Provider, TsaError
from tsa_core.api.wrong_types import describe
from tsa_core.host.discovery import InstalledPlugin
from tsa_core.host.loading import at_fault

if TYPE_CHECKING:
    from tsa_core.api.trail import Trail


def trail_of(provider: Provider[AuditSink], options: PluginOptions, plugin: InstalledPlugin | None) -> Trail:
    """Return the trail of a sink with these options; raises PluginError, PluginCrash or what the sink raises."""
    from tsa_core.api.trail import Trail  # nothing but commands on a trail, and anchoring, loads it

    name = provider.name
    if provider.open_trail is None:
        raise PluginError(f"the records of the audit sink {name!r} cannot be read back, only written", plugin=name)
    try:
        trail: object = provider.open_trail(options)
    except TsaError:
        raise
    except Exception as error:
        raise PluginCrash(
            f"the audit sink {name!r} crashed while its trail was opened: {error}", plugin=name
        ) from error
    if not isinstance(trail, Trail):
        raise PluginError(
            f"the audit sink {name!r}: open_trail returned {describe(trail)}, not a Trail; {at_fault(plugin)}",
            plugin=name,
        )
    return trail
