"""timestamp-server as click sees it: its commands, each of which is imported when it is asked for."""

from __future__ import annotations

from typing import Any, Final

import click

from tsa_core.cli.program_group import (
    LazyCommand,
    LazyGroup,
    add_version_flag,
    flags_after_the_command,
    long_flags,
    shared_commands,
)

_RUN, _CONFIGURE, _LOOK, _PUBLISH = "Run a server", "Configure it", "Find out what is wrong", "For those who verify"

COMMANDS: Final = {
    "serve": LazyCommand("tsa_core.cli.serve:serve", "Issue timestamps over HTTP, HTTPS or a Unix socket.", _RUN),
    "reload": LazyCommand(
        "tsa_core.cli.reload:reload",
        "Make a running server read configuration, chains and keys again, without losing a request.",
        _RUN,
    ),
    "status": LazyCommand(
        "tsa_core.cli.status:status",
        "Show what a running server says of itself: readiness with every cause, profiles, certificates and counters.",
        _RUN,
    ),
    "init": LazyCommand(
        "tsa_core.cli.init:init",
        "Make a timestamp authority in DIRECTORY: keys, certificates and tsa.toml.",
        _CONFIGURE,
    ),
    "certificates": LazyCommand(
        "tsa_core.cli.certificate_maker:certificates",
        "Make certificate chains from templates, with keys in any backend; certificate-maker is the same.",
        _CONFIGURE,
    ),
    "keys": LazyCommand(
        "tsa_core.cli.keys.group:keys",
        "Make and destroy signing keys under witnesses; with tsa-guard, make and revoke clients' API keys.",
        _CONFIGURE,
    ),
    "renew": LazyCommand(
        "tsa_core.cli.renew:renew",
        "Make the next key and certificate of a running authority, and change to them.",
        _CONFIGURE,
    ),
    "migrate": LazyCommand(
        "tsa_core.cli.migrate:migrate",
        "Print the tsa.toml that means the same as flags of Sigstore's timestamp server, its configuration file, or "
        "both.",
        _CONFIGURE,
    ),
    "plugins": LazyCommand(
        "tsa_core.cli.plugins:plugins", "Show the plugins that are installed, and begin new ones.", _CONFIGURE
    ),
    "config": LazyCommand("tsa_core.cli.config_show:config", "Show the settings that a server would have.", _CONFIGURE),
    "doctor": LazyCommand(
        "tsa_core.cli.doctor:doctor",
        "Look at the installation, configuration, plugins, files, clock, certificates and ports, and say what to do.",
        _LOOK,
    ),
    "check": LazyCommand(
        "tsa_core.cli.check:check",
        "Open everything that the configuration selects, make a trial signature and print what was found.",
        _LOOK,
    ),
    "check-chain": LazyCommand(
        "tsa_core.cli.check_chain:check_chain",
        "Judge the certificate chain in FILE, PEM, TSA's certificate first, rule by rule.",
        _LOOK,
    ),
    "clock": LazyCommand(
        "tsa_core.cli.clock:clock",
        "Compare the clock with what the configured monitors ask, once, and print every answer.",
        _LOOK,
    ),
    "audit": LazyCommand("tsa_core.cli.audit.group:audit", "Verify, search, export and keep the audit trail.", _LOOK),
    "trusted-root": LazyCommand(
        "tsa_core.cli.trust_documents:trusted_root",
        "Print the TrustedRoot (JSON) with which Sigstore's clients verify timestamps of this authority.",
        _PUBLISH,
    ),
    "signing-config": LazyCommand(
        "tsa_core.cli.trust_documents:signing_config",
        "Print the SigningConfig (JSON) that sends Sigstore's clients to this authority.",
        _PUBLISH,
    ),
    "policy-document": LazyCommand(
        "tsa_core.cli.policy_document:policy_document",
        "Write the practice statement, or the disclosure statement, that goes with the configuration.",
        _PUBLISH,
    ),
    **shared_commands(),
}


class ServerGroup(LazyGroup):
    """The built-in commands, and those of plugins: `timestamp-server NAME` asks the plugin NAME for its command.

    The flags of `serve` may also stand before a command's name.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, with flags behind the command that they belong to."""
        if args and args[0].startswith("--") and args[0] not in {"--help", "--version"}:
            from tsa_core.cli.serve import serve

            args = flags_after_the_command(args, long_flags(serve))
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a built-in command, else the one of the plugin of that name; only that plugin is imported."""
        if command := super().get_command(ctx, cmd_name):
            return command
        from tsa_core.api.installation import hint_for
        from tsa_core.cli.plugin_commands import load_plugin_command

        command = load_plugin_command(ctx, cmd_name)
        if command is None and (hint := hint_for("command", cmd_name)) and not ctx.resilient_parsing:
            raise click.UsageError(f"no plugin with the command {cmd_name!r} is installed; to add it: {hint}", ctx)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the built-in commands, then those of plugins, by their metadata: none is imported."""
        super().format_commands(ctx, formatter)
        # A command that a plugin and the core both have is one group, which stands above.
        if rows := [row for row in _in_metadata(ctx)["tsa_core.commands"].items() if row[0] not in self.lazy]:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say how to begin: with a trial where the signer that makes a key at start is installed, else with a key."""
        if "memory" in _in_metadata(ctx)["tsa_core.plugins"]:
            super().format_epilog(ctx, formatter)
            return
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(
                "Begin with 'timestamp-server init ./tsa', then 'timestamp-server serve --config ./tsa/tsa.toml'. "
                "A trial without a key of your own needs the signer memory, which is not installed."
            )


def _in_metadata(ctx: click.Context) -> dict[str, dict[str, str]]:
    """Return what the metadata say of plugins; looked for once for each help."""
    from tsa_core.cli.plugin_commands import names_in_metadata

    found: dict[str, dict[str, str]] = ctx.meta.setdefault(__name__, None) or names_in_metadata()
    ctx.meta[__name__] = found
    return found


@click.group(
    cls=ServerGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Try it: 'timestamp-server serve', then "
    "'curl http://127.0.0.1:3000/api/v1/timestamp/certchain' in another terminal.",
)
def server(**_: Any) -> None:
    """Run an RFC 3161 timestamp authority."""


add_version_flag(server, "timestamp-server")
