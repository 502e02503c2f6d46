"""Settings tables of plugins that would have no effect: each is an error, with the line that is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tsa_core.api import ConfigError
from tsa_core.config import Settings
from tsa_core.host import CLOCK, CLOCK_MONITOR, PluginHost

_LISTS: Mapping[str, str] = {
    "policy": "selectors",
    "response": "processors",
    "audit": "sinks",
    "observe": "observers",
    "health": "checks",
    "routes": "plugins",
    "middleware": "guards",
}
"""The setting of each section that selects plugins; [clock] has two."""


def refuse_tables_without_effect(settings: Settings, host: PluginHost) -> None:
    """Raise ConfigError for the table of a plugin that is not installed, or that nothing selects.

    An audit trail whose table is there and whose sink is not listed would else be missed when it is needed.
    """
    installed = host.names()
    for path, name, remedy in _unselected(settings, host):
        if name not in installed:
            raise ConfigError(
                f"[{path}] is the table of a plugin that is not installed; installed: {', '.join(installed)}"
            )
        raise ConfigError(f"[{path}] has no effect, because nothing selects {name!r}; {remedy}, or remove the table")


def _unselected(settings: Settings, host: PluginHost) -> Iterator[tuple[str, str, str]]:
    """Yield the path, the plugin's name and the remedy for each table whose plugin is not selected."""
    schemes = {profile.scheme for profile in settings.profiles.values()}
    for name in settings.signer:
        if name not in schemes:
            remedy = f'let a profile sign with it: signer = "{name}:..."'
            yield f"signer.{name}", name, f"{remedy}; for keys of certificates, write [certificate_signer.{name}]"
    clock = settings.clock
    for name in sorted(clock.plugin_tables() - {clock.source, *clock.monitors}):
        yield f"clock.{name}", name, _clock_remedy(name, clock.monitors, host)
    for section, setting in _LISTS.items():
        table = getattr(settings, section)
        selected = getattr(table, setting)
        for name in sorted(table.plugin_tables() - set(selected)):
            yield f"{section}.{name}", name, f"add to [{section}]: {_line(setting, [*selected, name])}"


def _clock_remedy(name: str, monitors: list[str], host: PluginHost) -> str:
    source, monitor = f'source = "{name}"', _line("monitors", [*monitors, name])
    kinds = {plugin.kind_by_name for plugin in host.installed() if plugin.name == name}
    if kinds == {CLOCK.name}:
        return f"add to [clock]: {source}"
    if kinds == {CLOCK_MONITOR.name}:
        return f"add to [clock]: {monitor}"
    return f"add to [clock]: {monitor} (or {source})"


def _line(setting: str, names: list[str]) -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    return f"{setting} = [{listed}]"
