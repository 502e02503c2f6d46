"""The command, and the files of a new plugin that every kind shares."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

import click

from tsa_core import __version__
from tsa_core.api import ConfigError, TsaError
from tsa_core.api.installation import OWN_PLUGINS
from tsa_core.host import COMMAND_GROUP, installed_plugins

KINDS: Final = {
    "signer": ("signer", "Signing backend"),
    "clock": ("clock", "Clock source"),
    "monitor": ("monitor", "Clock monitor"),
    "policy": ("selector", "Policy selector"),
    "response": ("processor", "Response processor"),
    "audit": ("sink", "Audit sink"),
    "observer": ("observer", "Observer"),
    "health": ("check", "Health check"),
    "command": ("command", "Command"),
    "routes": ("pages", "Routes plugin"),
    "guard": ("guard", "Guard"),
    "ca": ("authority", "Certificate authority"),
    "kek": ("kek", "Key encryption key"),
}
"""Each kind with the name of the module that does the work, and what people call it."""

_TEMPLATES: Final = "templates"
_SUFFIX: Final = ".txt"


@dataclass(frozen=True, kw_only=True)
class NewPlugin:
    """The names of a new plugin, all made from one: `acme-hsm` is the provider `acmehsm`."""

    kind: str
    title: str
    """As it was typed."""

    @property
    def name(self) -> str:
        """The provider's, and so the entry point's and, for a signer, the key URI's scheme."""
        return self.title.replace("-", "")

    @property
    def distribution(self) -> str:
        """What `pip install` calls it."""
        return f"tsa-{self.kind}-{self.name}"

    @property
    def package(self) -> str:
        """What `import` calls it."""
        return self.distribution.replace("-", "_")

    @property
    def class_name(self) -> str:
        """The beginning of the names of its classes."""
        return "".join(part.capitalize() for part in self.title.split("-"))

    def substitutions(self) -> dict[str, str]:
        """Return what the templates leave open."""
        major, minor, *_ = __version__.split(".")
        module, label = KINDS[self.kind]
        return {
            "name": self.name,
            "title": self.title,
            "distribution": self.distribution,
            "package": self.package,
            "class_name": self.class_name,
            "variable": self.title.replace("-", "_").upper(),
            "core_range": f">={major}.{minor},<{major}.{int(minor) + 1}",
            "kind": self.kind,
            "label": label.lower(),
            "module": module,
            "function": self.title.replace("-", "_"),
            # Help lists commands by a group of their own (decision 183).
            "command_entry": f'\n[project.entry-points."{COMMAND_GROUP}"]\n{self.name} = "{self.package}.plugin"\n\n'
            if self.kind == "command"
            else "\n",
        }


def write_plugin(plugin: NewPlugin, folder: Path) -> list[Path]:
    """Write the distribution's files and return their paths; raises ConfigError when the folder holds anything."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError("it exists already and is not empty; name another with --directory", path=str(folder))
    templates = files("tsa_core.cli.scaffold") / _TEMPLATES
    sources = {
        "pyproject.toml": templates / "pyproject.toml.txt",
        ".gitignore": templates / "gitignore.txt",
        f"{plugin.package}/__init__.py": templates / "init.py.txt",
    }
    special = {"README.md": "README.md", "tests.py": f"tests/test_{plugin.name}_{KINDS[plugin.kind][0]}.py"}
    for source in sorted((templates / plugin.kind).iterdir(), key=lambda source: source.name):
        name = source.name.removesuffix(_SUFFIX)
        sources[special.get(name, f"{plugin.package}/{name}")] = source
    substitutions = plugin.substitutions()
    written = []
    try:
        for name, source in sources.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(source.read_text("utf-8")).substitute(substitutions), encoding="utf-8")
            written.append(path)
        typed = folder / plugin.package / "py.typed"
        typed.touch()
    except OSError as error:
        raise TsaError(f"{folder}: the plugin could not be written: {error.strerror}") from None
    return [*written, typed]


def refuse_taken_names(plugin: NewPlugin, commands: Collection[str]) -> None:
    """Raise ConfigError when what is installed, or another plugin or command of ours, has the plugin's name already.

    Two plugins of one name stop the server, and two distributions of one name replace each other.
    """
    remedy = f"choose another name than {plugin.title}"
    if taken := installed_plugins().get(plugin.name):
        raise ConfigError(f"the plugin {taken[0].label} has the name {plugin.name!r} already; {remedy}")
    try:
        version = distribution(plugin.distribution).version
    except PackageNotFoundError:
        pass
    else:
        raise ConfigError(f"the distribution {plugin.distribution} {version} is installed already; {remedy}")
    for (_, name), requirement in OWN_PLUGINS.items():
        owner = requirement.partition("[")[0]
        if plugin.name == name.replace("-", "") or plugin.distribution == owner:
            raise ConfigError(f"{owner}, which is not installed here, has the name {name!r} already; {remedy}")
    if plugin.kind == "command" and plugin.name in commands:
        raise ConfigError(f"timestamp-server has the command {plugin.name!r} already; {remedy}")
    if keyword.iskeyword(plugin.substitutions()["function"]):
        raise ConfigError(f"{plugin.title!r} is a word of Python's; {remedy}")


def _check_title(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", value) or len(value) > 24:
        raise click.BadParameter(
            f"{value!r} cannot be a plugin's name; use lower-case letters, digits and dashes, acme-hsm for example"
        )
    return value


@click.command()
@click.argument("name", callback=_check_title)
@click.option("--kind", type=click.Choice(sorted(KINDS)), default="signer", show_default=True, help="What it provides.")
@click.option("--directory", type=click.Path(path_type=Path), help="Where to write it.  [tsa-KIND-NAME]")
@click.pass_context
def new(context: click.Context, /, name: str, kind: str, directory: Path | None) -> None:
    """Write a new plugin: a complete distribution that passes its own tests at once.

    NAME is what configurations will call it, dashes left out: the signer acme-hsm answers to key URIs acmehsm:...
    A name that something installed has already is refused.

    \b
    Example:
      timestamp-server plugins new acme-hsm --kind signer
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    plugin = NewPlugin(kind=kind, title=name)
    program = context.find_root().command
    refuse_taken_names(plugin, program.list_commands(context) if isinstance(program, click.Group) else ())
    folder = directory or Path(plugin.distribution)
    for path in write_plugin(plugin, folder):
        click.echo(path)
    click.echo(
        f"\nNow try it, in an environment that has tsa-core:\n\n"
        f"    cd {folder}\n"
        f"    pip install -e '.[test]'\n"
        f"    pytest\n"
        f"    timestamp-server {plugin.name + ' --help' if kind == 'command' else 'plugins show ' + plugin.name}\n\n"
        f"then read {folder / 'README.md'}, which says what to change.",
        err=True,
    )
