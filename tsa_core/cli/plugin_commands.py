"""What the program's help says of plugins: by metadata, without importing the plugin host."""

from __future__ import annotations

from importlib.metadata import distributions

COMMANDS = "tsa_core.commands"
PLUGINS = "tsa_core.plugins"
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OSError)
"""What importlib.metadata raises for metadata that is not UTF-8, has no Name, or is no INI file."""


def names_in_metadata() -> dict[str, dict[str, str]]:
    """Return the names in the groups COMMANDS and PLUGINS, sorted, each with a line for the help; none is imported.

    They are those that `tsa_core.host.installed_plugins` finds, in a tenth of the time that importing the host takes.
    """
    found: dict[str, dict[str, str]] = {COMMANDS: {}, PLUGINS: {}}
    for distribution in distributions():
        try:
            entries = [entry for entry in distribution.entry_points if entry.group in found]
            if entries:
                metadata = distribution.metadata
                line = f"{metadata.json.get('summary', '')} ({metadata['Name']})"
        except _UNREADABLE:
            continue
        for entry in entries:
            found[entry.group].setdefault(entry.name, line)
    return {group: dict(sorted(names.items())) for group, names in found.items()}
