"""Lists the installed plugins from metadata, without importing them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email import message_from_string
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import TYPE_CHECKING, ClassVar

from tsa_core import __version__
from tsa_core.api import PluginError
from tsa_core.api.installation import upgrade_hint
from tsa_core.host.kinds import KINDS
from tsa_core.values import Value

if TYPE_CHECKING:
    from email.message import Message
    from importlib.metadata import PackageMetadata

    from packaging.requirements import Requirement

log = logging.getLogger(__name__)

GROUP = "tsa_core.plugins"
COMMAND_GROUP = "tsa_core.commands"
"""Lists the names of plugins in GROUP that bring a command, for the program's help (decision 183)."""
CORE_DISTRIBUTION = "tsa-core"


class InstalledPlugin(Value):
    """One entry point of the group `tsa_core.plugins`."""

    name: str
    module: str
    distribution: str
    version: str
    summary: str = ""
    requires: tuple[str, ...] = ()
    hook: str = ""
    """The hook that the entry point names after a colon, `package.plugin:tsa_keks`; most name none."""

    _hidden: ClassVar = frozenset({"requires"})

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
        unclear = [text for text in self.requires if not _plainly_met(text)]
        if not unclear:
            return
        from packaging.requirements import InvalidRequirement, Requirement

        for text in unclear:
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


def _plainly_met(text: str) -> bool:
    """Say whether this is nothing but bounds that this core keeps, `tsa-core[server]<0.2,>=0.1`, or names another.

    So most plugins are loaded without packaging, whose import takes as long as opening them.
    """
    found = _BOUNDS.fullmatch(text)
    if found is None or not (own := _numbers(__version__)):
        return _OTHER.match(text) is not None
    return all((own >= _numbers(bound)) == bound.startswith(">=") for bound in found[1].split(","))


_BOUNDS = re.compile(r"tsa-core(?:\[\w+\])?((?:,?(?:<|>=)\d+(?:\.\d+)*)+)")
_OTHER = re.compile(r"(?!tsa[-_.]*core\b)[A-Za-z0-9]", re.IGNORECASE)


def _numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a version or bound, zeros at its end left out; none for a version with other parts."""
    parts = text.lstrip("<>=").split(".")
    if not all(part.isdecimal() for part in parts):
        return ()
    while parts[1:] and not int(parts[-1]):
        parts.pop()
    return tuple(map(int, parts))


def _wants_newer(requirement: Requirement) -> bool:
    """Say whether a requirement that this core does not meet is for a newer one."""
    from packaging.version import InvalidVersion, Version

    for wanted in requirement.specifier:
        if wanted.operator in {"<", "<=", "!="}:
            continue
        try:
            if Version(wanted.version.removesuffix(".*")) > Version(__version__):
                return True
        except InvalidVersion:  # "===" compares texts
            continue
    return False


class _Installed(Mapping[str, list[InstalledPlugin]]):
    """Entry points by name. The metadata of a distribution are read when one of its names is looked up."""

    def __init__(self, entries: Mapping[str, Sequence[tuple[Distribution, EntryPoint]]]) -> None:
        self._entries = entries
        self._described: dict[str, list[InstalledPlugin]] = {}

    def __getitem__(self, name: str) -> list[InstalledPlugin]:
        if name not in self._described:
            once: dict[tuple[str, str], InstalledPlugin] = {}
            for distribution, entry in self._entries[name]:
                plugin = _describe(distribution, entry)
                once.setdefault((plugin.distribution, plugin.module), plugin)
            self._described[name] = list(once.values())
        return self._described[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def installed_plugins(
    found: Iterable[Distribution] | None = None, *, group: str = GROUP
) -> Mapping[str, list[InstalledPlugin]]:
    """Return all entry points of the group by name; a name has several when distributions collide.

    A distribution that is found twice, as installed and by a path, counts once.
    """
    entries: dict[str, list[tuple[Distribution, EntryPoint]]] = {}
    for distribution in distributions() if found is None else found:
        for entry in _entries(distribution, group):
            entries.setdefault(entry.name, []).append((distribution, entry))
    return _Installed({name: entries[name] for name in sorted(entries)})


_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OSError)
"""What importlib.metadata raises for metadata that is not UTF-8, has no Name, or is no INI file."""


def _entries(distribution: Distribution, group: str) -> list[EntryPoint]:
    """Return a distribution's entry points of the group; none where its metadata is broken."""
    try:
        # Most have entry points of other groups, and to parse them takes as long as to read all files.
        text = distribution.read_text("entry_points.txt")
        if text is not None and group not in text:
            return []
        return [entry for entry in distribution.entry_points if entry.group == group]
    except _UNREADABLE:
        log.debug("a distribution has entry points that cannot be read", exc_info=True)
        return []


def _headers(distribution: Distribution) -> Message | PackageMetadata:
    """Return the headers of a distribution's metadata, without the readme that follows them, which takes longer."""
    text = distribution.read_text("METADATA")
    return distribution.metadata if not text else message_from_string(text.partition("\n\n")[0])


def _target(entry: EntryPoint) -> tuple[str, str]:
    """Return the module and the hook that an entry point names; of one that names no module, what it names instead."""
    try:
        return entry.module, entry.attr
    except (AssertionError, AttributeError):  # Python 3.11 raises the latter
        return entry.value, ""


def _describe(distribution: Distribution, entry: EntryPoint) -> InstalledPlugin:
    name = version = ""
    module, hook = _target(entry)
    requires: tuple[str, ...] = ()
    try:
        metadata = _headers(distribution)
        name, version, summary = (
            str(metadata[key]) if key in metadata else "" for key in ("Name", "Version", "Summary")
        )
        # `requires` parses the metadata anew; the older format alone has its requirements elsewhere.
        requires = tuple(metadata.get_all("Requires-Dist") or distribution.requires or ())
    except _UNREADABLE:
        summary = "its metadata cannot be read; install it anew"
    return InstalledPlugin(
        name=entry.name,
        module=module,
        distribution=name or f"the distribution of {module}",
        version=version or "of no known version",
        summary=summary,
        requires=requires,
        hook=hook,
    )
