"""Lists the installed plugins from metadata, without importing them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from tsa_core import __version__
from tsa_core.api import PluginError
from tsa_core.api.installation import upgrade_hint
from tsa_core.host.kinds import KINDS

log = logging.getLogger(__name__)

GROUP = "tsa_core.plugins"
COMMAND_GROUP = "tsa_core.commands"
"""Lists the names of plugins in GROUP that bring a command, for the program's help (decision 183)."""
CORE_DISTRIBUTION = "tsa-core"


@dataclass(frozen=True, kw_only=True)
class InstalledPlugin:
    """One entry point of the group `tsa_core.plugins`."""

    name: str
    module: str
    distribution: str
    version: str
    summary: str = ""
    requires: tuple[str, ...] = field(default=(), repr=False)
    hook: str = ""
    """The hook that the entry point names after a colon, `package.plugin:tsa_keks`; most name none."""

    @property
    def label(self) -> str:
        """The plugin's name in messages."""
        return f"{self.name} ({self.distribution} {self.version})"

    @property
    def kind_by_name(self) -> str | None:
        """The KIND that the metadata tell: by the entry point's hook, else by the name tsa-KIND-NAME.

        `command` for one that only adds commands. None for others, whose kind is known after loading only.
        """
        if self.hook == "tsa_commands":
            return "command"
        if self.hook:
            return next((kind.name for kind in KINDS if self.hook in {kind.hook, kind.other_schemes_hook}), None)
        parts = self.distribution.lower().replace("_", "-").split("-")
        return parts[1] if len(parts) > 2 and parts[0] == "tsa" else None

    def check_core_version(self) -> None:
        """Raise PluginError when the distribution requires another version of tsa-core."""
        for text in self.requires:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            name = requirement.name.lower().replace("_", "-")
            if name == CORE_DISTRIBUTION and not requirement.specifier.contains(__version__, prereleases=True):
                needs = f"the plugin {self.label} needs tsa-core{requirement.specifier}, this is {__version__}"
                remedy = (
                    f"upgrade the core, not the plugin: {upgrade_hint(str(requirement.specifier))}"
                    if _wants_newer(requirement)
                    else f"install a {self.distribution} made for it"
                )
                raise PluginError(f"{needs}; {remedy}", plugin=self.name)


def _wants_newer(requirement: Requirement) -> bool:
    """Say whether a requirement that this core does not meet is for a newer one."""
    for wanted in requirement.specifier:
        if wanted.operator in {"<", "<=", "!="}:
            continue
        try:
            if Version(wanted.version.removesuffix(".*")) > Version(__version__):
                return True
        except InvalidVersion:  # "===" compares texts
            continue
    return False


def installed_plugins(
    found: Iterable[Distribution] | None = None, *, group: str = GROUP
) -> dict[str, list[InstalledPlugin]]:
    """Return all entry points of the group by name; a name has several when distributions collide.

    A distribution that is found twice, as installed and by a path, counts once.
    """
    plugins: dict[str, dict[tuple[str, str], InstalledPlugin]] = {}
    for distribution in distributions() if found is None else found:
        for entry in _entries(distribution, group):
            plugin = _describe(distribution, entry)
            plugins.setdefault(entry.name, {}).setdefault((plugin.distribution, plugin.module), plugin)
    return {name: list(plugins[name].values()) for name in sorted(plugins)}


_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OSError)
"""What importlib.metadata raises for metadata that is not UTF-8, has no Name, or is no INI file."""


def _entries(distribution: Distribution, group: str) -> list[EntryPoint]:
    """Return a distribution's entry points of the group; none where its metadata is broken."""
    try:
        return [entry for entry in distribution.entry_points if entry.group == group]
    except _UNREADABLE:
        log.debug("a distribution has entry points that cannot be read", exc_info=True)
        return []


def _describe(distribution: Distribution, entry: EntryPoint) -> InstalledPlugin:
    name = version = ""
    requires: tuple[str, ...] = ()
    try:
        metadata = distribution.metadata
        name, version = metadata["Name"] or "", distribution.version or ""
        summary, requires = str(metadata.json.get("summary", "")), tuple(distribution.requires or ())
    except _UNREADABLE:
        summary = "its metadata cannot be read; install it anew"
    return InstalledPlugin(
        name=entry.name,
        module=entry.module,
        distribution=name or f"the distribution of {entry.module}",
        version=version or "of no known version",
        summary=summary,
        requires=requires,
        hook=entry.attr,
    )
