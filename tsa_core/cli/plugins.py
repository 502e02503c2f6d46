"""timestamp-server plugins: what is installed, what its settings are, and a beginning for new ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import click
from rich.markup import escape

from tsa_core.api import PluginError, Provider
from tsa_core.cli import console
from tsa_core.cli.plugin_settings import describe_settings
from tsa_core.cli.program_group import HelpfulGroup
from tsa_core.cli.scaffold import new
from tsa_core.host import CORE_DISTRIBUTION, KINDS, SIGNER, InstalledPlugin, Kind, PluginHost

_WIDE = 100
_SELECT = {
    "signer": '[profiles.default]\nsigner = "{name}:KEY"',
    "clock": '[clock]\nsource = "{name}"',
    "monitor": '[clock]\nmonitors = ["{name}"]',
    "policy": '[policy]\nselectors = ["{name}"]',
    "response": '[response]\nprocessors = ["{name}"]',
    "audit": '[audit]\nsinks = ["{name}"]',
    "observer": '[observe]\nobservers = ["{name}"]',
    "health": '[health]\nchecks = ["{name}"]',
    "routes": '[routes]\nplugins = ["{name}"]',
    "guard": '[middleware]\nguards = ["{name}"]',
    "command": "timestamp-server {name}",
    "kek": 'key_resource = "{name}://KEY"   # where a plugin asks for the key that encrypts its own',
    "ca": "fetch-tsa-certs --parent-ca {name}:RESOURCE",
}
"""How a configuration selects what a plugin provides, by kind."""


class _Row(NamedTuple):
    plugin: InstalledPlugin
    kind: str
    summary: str
    problem: str | None


@click.group(cls=HelpfulGroup)
def plugins() -> None:
    """Show the plugins that are installed, and begin new ones."""


plugins.add_command(new)


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_plugins(as_json: bool) -> None:
    """List the installed plugins; none is imported for it."""
    rows = _rows(PluginHost())
    if as_json:
        console.print_json(
            [
                {
                    "name": row.plugin.name,
                    "kind": row.kind,
                    "distribution": row.plugin.distribution,
                    "version": row.plugin.version,
                    "summary": row.summary,
                    "problem": row.problem,
                }
                for row in rows
            ]
        )
        return
    screen = console.stdout()
    if not screen.is_terminal:
        for row in rows:
            plugin = row.plugin
            click.echo("\t".join((plugin.name, plugin.distribution, plugin.version, row.problem or row.summary)))
        return
    wide = screen.width >= _WIDE
    console.print_table(
        ("NAME", "KIND", *(("DISTRIBUTION",) if wide else ()), "VERSION", "SUMMARY"),
        [
            (
                f"[bold]{row.plugin.name}[/]",
                row.kind,
                *((row.plugin.distribution,) if wide else ()),
                row.plugin.version,
                f"[red]{escape(row.problem)}[/]" if row.problem else escape(row.summary),
            )
            for row in rows
        ],
        fixed=4 if wide else 3,
    )
    screen.print("\n[dim]timestamp-server plugins show NAME prints what it provides and its settings[/]")


def _rows(host: PluginHost) -> list[_Row]:
    """Return what is installed, by kind and name, from metadata alone; what the core brings itself comes last."""
    installed = host.installed()
    rows = []
    for plugin in installed:
        same = [other.distribution for other in installed if other.name == plugin.name]
        problem = f"two distributions have this name: {' and '.join(same)}; uninstall one" if len(same) > 1 else None
        try:
            plugin.check_core_version()
        except PluginError as error:
            problem = str(error)
        # A distribution that is not called tsa-KIND-NAME must be shown to be known.
        kind, summary = plugin.kind_by_name if plugin.kind_by_name in _SELECT else "?", plugin.summary
        if plugin.distribution == CORE_DISTRIBUTION:
            # Its own summary is the whole core's; asking the core costs no import of anybody's plugin.
            provided = _provided(host, plugin.name)
            kind, summary = ", ".join(kind.name for kind, _ in provided), provided[0][1].summary
        rows.append(_Row(plugin, kind, summary, problem))
    return sorted(rows, key=lambda row: (row.plugin.distribution == CORE_DISTRIBUTION, row.kind, row.plugin.name))


def _provided(host: PluginHost, name: str) -> list[tuple[Kind[Any], Provider[Any]]]:
    host.load(name)
    return [(kind, provider) for kind in KINDS for provider in [host.providers(kind).get(name)] if provider]


@plugins.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show what the plugin NAME provides, how to select it, and every setting of it."""
    host = PluginHost()
    plugin = host.load(name)
    provided = _provided(host, name)
    command = host.commands().get(name)
    if not provided and not command:
        raise PluginError(f"the plugin {plugin.label} provides nothing under its own name", plugin=name)
    if as_json:
        console.print_json(
            {
                "name": name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "module": plugin.module,
                "provides": [_document(kind, provider) for kind, provider in provided],
                "command": command.summary if command else None,
            }
        )
        return
    screen = console.stdout()
    screen.print(f"[bold]{name}[/]  {plugin.distribution} {plugin.version}", soft_wrap=True)
    for kind, provider in provided:
        _print_provider(kind, provider)
    if command:
        screen.print(f"\n[bold]command[/]: {escape(command.summary)}", soft_wrap=True)
        screen.print(f"\n    timestamp-server {name} --help", soft_wrap=True)


def _document(kind: Kind[Any], provider: Provider[Any]) -> dict[str, Any]:
    return {
        "kind": kind.label,
        "summary": provider.summary,
        "section": kind.table(provider.name),
        **({"makes_keys": provider.make_key is not None} if kind is SIGNER else {}),
        "settings": [setting._asdict() for setting in describe_settings(provider)],
    }


def _print_provider(kind: Kind[Any], provider: Provider[Any]) -> None:
    screen = console.stdout()
    screen.print(f"\n[bold]{kind.label}[/]: {escape(provider.summary)}\n", soft_wrap=True)
    for line in _SELECT[kind.name].format(name=provider.name).splitlines():
        screen.print(f"    {line}", markup=False, soft_wrap=True)
    if provider.make_key is not None:
        screen.print("\nIt makes keys: timestamp-server keys ceremony --make", soft_wrap=True)
    settings = describe_settings(provider)
    if not settings:
        screen.print("\nIt has no settings.")
        return
    screen.print(f"\n[{kind.table(provider.name)}]", markup=False, soft_wrap=True)
    plain = not screen.is_terminal
    console.print_table(
        ("SETTING", "VALUE", "MEANING"),
        [
            (s.name, s.value, s.meaning) if plain else (f"[bold]{s.name}[/]", escape(s.value), escape(s.meaning))
            for s in settings
        ],
        fixed=1,
    )
