"""timestamp-server: serve, check, check-chain, init, plugins, version."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import click
from rich.panel import Panel

from tsa_core.api import PluginError, TsaError
from tsa_core.cli import console
from tsa_core.cli.check_chain import check_chain
from tsa_core.cli.clock import clock
from tsa_core.cli.init import init
from tsa_core.cli.plugins import plugins
from tsa_core.cli.settings_flags import overrides, settings_options
from tsa_core.config import Settings, load_settings
from tsa_core.host import PluginHost
from tsa_core.service import Service

PROGRAM = "timestamp-server"
_FIRST_ROUND_SECONDS = 30.0
"""How long `check` waits for the clock monitors' first verdicts."""


class ServerGroup(click.Group):
    """The built-in commands, and those of plugins: `timestamp-server NAME` asks the plugin NAME for its command."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a built-in command, else the one of the plugin of that name; only that plugin is imported."""
        if command := super().get_command(ctx, cmd_name):
            return command
        host = PluginHost()
        if cmd_name not in {plugin.name for plugin in host.installed()}:
            return None
        host.load(cmd_name)
        found = host.commands().get(cmd_name)
        return found.load() if found else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the built-in commands, then those of plugins; a plugin that does not load is left out."""
        super().format_commands(ctx, formatter)
        host = PluginHost()
        for plugin in host.installed():
            try:
                host.load(plugin.name)
            except PluginError:
                logging.getLogger(__name__).debug("plugin %s did not load", plugin.name, exc_info=True)
        rows = sorted((command.name, command.summary) for command in host.commands().values())
        if rows:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(rows)


@click.group(
    cls=ServerGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Try it: 'timestamp-server serve', then "
    "'curl http://127.0.0.1:3000/api/v1/timestamp/certchain' in another terminal.",
)
def server() -> None:
    """Run an RFC 3161 timestamp authority."""


server.add_command(check_chain)
server.add_command(clock)
server.add_command(init)
server.add_command(plugins)


@server.command()
@settings_options
def serve(**parameters: Any) -> None:
    """Issue timestamps over HTTP.

    Settings come from flags, TSA_... variables and tsa.toml, in that order. Without any, a key made at start signs:
    good for a trial, useless for anything else.

    \b
    Examples:
      timestamp-server serve
      timestamp-server serve --config tsa.toml
      timestamp-server serve --timestamp-signer file --file-signer-key-path key.pem \\
          --certificate-chain-path chain.pem
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    from tsa_core.http.serving import serve as serve_http

    console.set_up_logging()
    serve_http(_load(parameters), _announce)
    console.stderr().print("stopped: every request that had arrived was answered")


def _load(parameters: dict[str, Any]) -> Settings:
    if parameters.get("file_signer_passwd"):
        logging.getLogger(__name__).warning(
            "--file-signer-passwd shows the password to everybody who can run ps on this machine; "
            "use TSA_SIGNER__FILE__PASSWORD or [signer.file] password = { file = ... } instead"
        )
    return load_settings(parameters["config"], overrides=overrides(parameters))


def _announce(facts: Mapping[str, Any]) -> None:
    """Say on stderr what is served and where, and warn of keys that nobody should trust."""
    screen = console.stderr()
    for warning in facts["warnings"]:
        if screen.is_terminal:
            screen.print(Panel(warning, title="not for real use", border_style="bold yellow", style="yellow"))
        else:
            screen.print(f"WARNING: {warning}", soft_wrap=True)
    for profile in facts["profiles"]:
        screen.print(
            "profile {name}: {algorithm}, policy {policy}, certificate until {not_after}".format(**profile),
            soft_wrap=True,
        )
    for address in facts["addresses"]:
        screen.print(f"listening on {address} (POST {address}/api/v1/timestamp); Ctrl-C stops", soft_wrap=True)


@server.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(as_json: bool, **parameters: Any) -> None:
    """Open everything that the configuration selects, make a trial signature and print what was found.

    Serves nothing. Exit code 0 when a server with these settings could issue, 2 when not.
    """
    console.set_up_logging(logging.ERROR)
    with Service(_load(parameters)) as service:
        service.clock.gate.wait_for_monitors(_FIRST_ROUND_SECONDS)
        for warning in service.warnings:
            console.stderr().print(f"WARNING: {warning}", soft_wrap=True)
        profiles = [_check_profile(profile) for profile in service.authority.profiles.values()]
        checks = [{"name": line.name, "healthy": line.healthy, "reason": line.reason} for line in service.readiness()]
    if as_json:
        console.print_json({"profiles": profiles, "checks": checks})
    else:
        rows = [(p["profile"], key, value) for p in profiles for key, value in p.items() if key != "profile"]
        console.print_table(("PROFILE", "FACT", "VALUE"), rows)
        rows = [(str(c["name"]), "good" if c["healthy"] else "bad", str(c["reason"])) for c in checks]
        console.print_table(("CHECK", "STATE", "REASON"), rows)
    if not all(line["healthy"] for line in checks):
        raise TsaError("not everything is usable; see the checks above")


def _check_profile(profile: Any) -> dict[str, str]:
    started = perf_counter()
    profile.trial_signature()
    milliseconds = (perf_counter() - started) * 1000
    days = (profile.not_after - datetime.now(UTC)).days
    return {
        "profile": profile.name,
        "signer": profile.settings.scheme,
        **profile.signer.details(),
        "algorithm": profile.algorithm.name,
        "trial signature": f"verified, {milliseconds:.1f} ms",
        "certificate": f"{profile.chain.leaf.subject.rfc4514_string()}, {days} days left",
        "chain": " <- ".join(c.subject.rfc4514_string() for c in profile.chain.certificates),
        "policies": ", ".join(profile.policies),
        "hashes": profile.hash_names,
    }


@server.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def version(as_json: bool) -> None:
    """Print the versions of tsa-core, Python and the cryptographic library."""
    console.print_versions(as_json=as_json)


def main() -> None:
    """Run timestamp-server."""
    console.run(server, PROGRAM)


if __name__ == "__main__":
    main()
