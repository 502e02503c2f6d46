"""timestamp-server plugins: what is installed and what its settings are."""

from __future__ import annotations

import types
from datetime import timedelta
from typing import Any

import click

from tsa_core.api import PluginError, Provider, SignerOptions
from tsa_core.api.fields import format_duration
from tsa_core.cli import console
from tsa_core.host import KINDS, Kind, PluginHost

_SIGNER_FIELDS = frozenset(SignerOptions.model_fields)


@click.group()
def plugins() -> None:
    """Show the plugins that are installed."""


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_plugins(as_json: bool) -> None:
    """List the installed plugins; none is imported for it."""
    installed = PluginHost().installed()
    if as_json:
        console.print_json(
            [
                {"name": p.name, "distribution": p.distribution, "version": p.version, "summary": p.summary}
                for p in installed
            ]
        )
        return
    console.print_table(
        ("NAME", "DISTRIBUTION", "VERSION", "SUMMARY"),
        [(p.name, p.distribution, p.version, p.summary) for p in installed],
    )


@plugins.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show what the plugin NAME provides, and every setting of it."""
    host = PluginHost()
    plugin = host.load(name)
    provided = [(kind, provider) for kind in KINDS for provider in [host.providers(kind).get(name)] if provider]
    command = host.commands().get(name)
    if not provided and not command:
        raise PluginError(f"the plugin {plugin.label} provides nothing under its own name", plugin=name)
    document = {
        "name": name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "module": plugin.module,
        "provides": [_describe(kind, provider) for kind, provider in provided],
        "command": command.summary if command else None,
    }
    if as_json:
        console.print_json(document)
        return
    click.echo(f"{name}: {plugin.distribution} {plugin.version}, module {plugin.module}")
    for kind, provider in provided:
        click.echo(f"\n{kind.label}: {provider.summary}")
        settings = _settings(provider)
        if settings:
            click.echo(f"settings in [{kind.section}.{name}]:")
            console.print_table(
                ("SETTING", "TYPE", "DEFAULT", "MEANING"),
                [(s["name"], s["type"], s["default"], s["description"]) for s in settings],
            )
    if command:
        click.echo(f"\ncommand: timestamp-server {name}: {command.summary}")


def _describe(kind: Kind[Any], provider: Provider[Any]) -> dict[str, Any]:
    return {
        "kind": kind.label,
        "summary": provider.summary,
        "section": f"{kind.section}.{provider.name}",
        "settings": _settings(provider),
    }


def _settings(provider: Provider[Any]) -> list[dict[str, str]]:
    """Return the provider's settings; those that a signer gets from its profile are not among them."""
    schema = provider.options.model_json_schema(mode="validation")
    result = []
    for name, field in provider.options.model_fields.items():
        if issubclass(provider.options, SignerOptions) and name in _SIGNER_FIELDS:
            continue
        description = field.description or ""
        default = "required" if field.is_required() else str(schema["properties"][name].get("default", ""))
        if isinstance(field.default, timedelta):
            default = format_duration(field.default)
        result.append(
            {"name": name, "type": _type_name(field.annotation), "default": default, "description": description}
        )
    return result


def _type_name(annotation: Any) -> str:
    """Return a type as people write it: choices by their values, unions by their parts, None left out."""
    arguments = getattr(annotation, "__args__", ())
    if annotation is timedelta:
        return "duration"
    if getattr(annotation, "__origin__", None) is None and not isinstance(annotation, types.UnionType):
        return str(getattr(annotation, "__name__", annotation))
    parts = [a if isinstance(a, str) else _type_name(a) for a in arguments if a is not type(None)]
    if isinstance(annotation, types.GenericAlias):
        return f"{annotation.__origin__.__name__}[{', '.join(parts)}]"
    return " | ".join(parts)
