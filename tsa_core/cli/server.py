"""timestamp-server: serve, check, check-chain, init, plugins, version."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import click
from rich.markup import escape
from rich.panel import Panel

from tsa_core.api import PluginError, SignerError, one_line
from tsa_core.authority import Profile
from tsa_core.certs.rules import fraction_digits_complaint
from tsa_core.cli import console
from tsa_core.cli.check_chain import check_chain
from tsa_core.cli.clock import clock
from tsa_core.cli.flag_groups import GroupedCommand
from tsa_core.cli.init import init
from tsa_core.cli.migrate import migrate
from tsa_core.cli.plugins import plugins
from tsa_core.cli.program_group import add_program_commands, flags_after_the_command, long_flags
from tsa_core.cli.reference_settings import load
from tsa_core.cli.reload import reload
from tsa_core.cli.repeated_flags import refuse_repeated_flags
from tsa_core.cli.settings_flags import flag_groups, settings_options
from tsa_core.cli.trust_documents import signing_config, trusted_root
from tsa_core.host import COMMAND_GROUP, PluginHost, installed_plugins
from tsa_core.logs import say, set_up_logging
from tsa_core.service import Service, kind_text, selection, selection_text

log = logging.getLogger(__name__)

PROGRAM = "timestamp-server"
_FIRST_ROUND_SECONDS = 30.0
"""How long `check` waits for the clock monitors' first verdicts."""
_HEALTH_SECONDS = 10.0
"""How long it waits for sinks, processors and health checks to tell their health."""


class ServerGroup(click.Group):
    """The built-in commands, and those of plugins: `timestamp-server NAME` asks the plugin NAME for its command.

    The flags of `serve` may also stand before a command's name.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, with flags behind the command that they belong to."""
        return super().parse_args(ctx, flags_after_the_command(args, long_flags(serve)))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a built-in command, else the one of the plugin of that name; only that plugin is imported."""
        if command := super().get_command(ctx, cmd_name):
            return command
        host = PluginHost()
        if cmd_name not in {plugin.name for plugin in host.installed()}:
            return None
        host.load(cmd_name)
        found = host.commands().get(cmd_name)
        ctx.obj = host.open_kek
        return refuse_repeated_flags(found.load()) if found else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the built-in commands, then those of plugins, by their metadata: none is imported."""
        super().format_commands(ctx, formatter)
        found = installed_plugins(group=COMMAND_GROUP)
        if rows := [(name, f"{each[0].summary} ({each[0].distribution})") for name, each in found.items()]:
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
server.add_command(migrate)
server.add_command(plugins)
server.add_command(reload)
server.add_command(signing_config)
server.add_command(trusted_root)


@server.command(cls=GroupedCommand, groups=flag_groups())
@settings_options
def serve(**parameters: Any) -> None:
    """Issue timestamps over HTTP, HTTPS or a Unix socket.

    Settings come from flags, TSA_... variables and tsa.toml, in that order; [in brackets] is what holds when none of
    them says anything. Without any, a key made at start signs: good for a trial, useless for anything else.

    A DURATION is written 500ms, 30s, 5m or 1h30m, a flag without a value also --flag=true or --flag=false.
    Stop with Ctrl-C or SIGTERM: what has arrived is answered first. Exit code 2: a setting or a plugin is wrong, and
    the line on stderr says which. 75: something cannot be had now (a key's backend, an address, a port), and the same
    start may succeed later.

    \b
    Examples:
      A trial, with a key that lives as long as the process:
        timestamp-server serve
      A key in a file:
        timestamp-server serve --timestamp-signer file --file-signer-key-path key.pem \\
            --certificate-chain-path chain.pem
      HTTPS for everybody, and plain HTTP for nothing but the load balancer's probe:
        timestamp-server serve --config tsa.toml --host 0.0.0.0 --scheme https --scheme http \\
            --http-ping-only --tls-certificate cert.pem --tls-key key.pem
      Everything in a file, checked before it serves:
        timestamp-server check --config tsa.toml && timestamp-server serve --config tsa.toml
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    from tsa_core.hosting.memory_protection import forbid_memory_dumps
    from tsa_core.hosting.notify import notify_ready
    from tsa_core.hosting.serving import serve as serve_http

    set_up_logging()
    loaded = load(parameters)
    settings = loaded.settings
    set_up_logging(settings.log)
    for note in loaded.notes:
        log.info("%s", note)
    if not settings.server.core_dumps:
        forbid_memory_dumps()
    _warn_of_secrets(parameters)
    for_people = settings.log.type == "dev"

    def announce(facts: Mapping[str, Any]) -> None:
        (_announce if for_people else _log_announcement)(facts)
        notify_ready(f"listening on {' '.join(facts['addresses'])}")

    complete = serve_http(
        settings,
        announce,
        read_again=lambda: load(parameters).settings,
    )
    fate = "every request that had arrived was answered" if complete else "requests were cut off; see the lines above"
    stopped = f"stopped: {fate}"
    if for_people:
        say(stopped)
    else:
        log.log(logging.INFO if complete else logging.WARNING, stopped)


_SECRET_FLAGS = {
    "file_signer_passwd": "--file-signer-passwd shows the password to everybody who can run ps on this machine; "
    "use TSA_SIGNER__FILE__PASSWORD or [signer.file] password = { file = ... } instead",
    "tink_hcvault_token": "--tink-hcvault-token shows the token to everybody who can run ps on this machine; "
    "use VAULT_TOKEN or [signer.tink] hcvault_token = { file = ... } instead",
}


def _warn_of_secrets(parameters: dict[str, Any]) -> None:
    for parameter, warning in _SECRET_FLAGS.items():
        if parameters.get(parameter):
            log.warning("%s", warning)


def _announcement(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines that say what is served and where."""
    for profile in facts["profiles"]:
        yield "profile {name}: {algorithm}, policy {policy}, certificate until {not_after}".format(**profile)
    yield f"plugins: {selection_text(facts['selected'])}"
    if "metrics" in facts:
        yield f"metrics at {facts['metrics']}"
    for address in facts["addresses"]:
        post = "" if address.startswith("unix:") else f" (POST {address}/api/v1/timestamp)"
        yield f"listening on {address}{post}; Ctrl-C stops"
    for address in facts["profiling"]:
        yield f"profiling on {address}"


def _announce(facts: Mapping[str, Any]) -> None:
    """Say on stderr what is served and where, and warn of keys that nobody should trust."""
    screen = console.stderr()
    for warning in facts["warnings"]:
        if screen.is_terminal:
            screen.print(Panel(escape(warning), title="not for real use", border_style="bold yellow", style="yellow"))
        else:
            say(f"WARNING: {warning}")
    for line in _announcement(facts):
        say(line)


def _log_announcement(facts: Mapping[str, Any]) -> None:
    """Say the same as lines of the log, so that stderr has one format from the beginning."""
    for warning in facts["warnings"]:
        log.warning("%s", warning)
    for line in _announcement(facts):
        log.info("%s", line)


@server.command(cls=GroupedCommand, groups=flag_groups())
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(as_json: bool, **parameters: Any) -> None:
    """Open everything that the configuration selects, make a trial signature and print what was found.

    Serves nothing, and changes nothing. Exit code 0: a server with these settings could issue now. 1: it would start,
    but refuse for now, as when no time server can be reached. 2: it would not start. 75: it would not start now, but
    may later, as when the key's backend is down.
    """
    set_up_logging(level=logging.ERROR)
    loaded = load(parameters)
    for note in loaded.notes:
        say(note)
    with Service(loaded.settings, checking=True) as service:
        service.clock.gate.wait_for_monitors(_FIRST_ROUND_SECONDS)
        service.watch.ask_all(_HEALTH_SECONDS)
        for warning in (*service.warnings, *_gen_time_warnings(service), *_source_warnings(service)):
            console.stderr().print(f"WARNING: {warning}", markup=False, soft_wrap=True)
        profiles = [_check_profile(profile) for profile in service.authority.profiles.values()]
        chosen = selection(service.settings)
        origins = {name: service.host.distribution(name) for names in chosen.values() for name in names}
        checks = [{"name": line.name, "healthy": line.healthy, "reason": line.reason} for line in service.readiness()]
    if as_json:
        selected = {
            kind: [{"name": name, "distribution": origins[name]} for name in names] for kind, names in chosen.items()
        }
        console.print_json({"profiles": profiles, "selected": selected, "checks": checks})
    else:
        rows = [(p["profile"], key, value) for p in profiles for key, value in p.items() if key != "profile"]
        console.print_table(("PROFILE", "FACT", "VALUE"), rows)
        rows = [
            (kind_text(kind), name, origins.get(name, ""))
            for kind, names in chosen.items()
            for name in names or ["none"]
        ]
        console.print_table(("PLUGINS", "SELECTED", "DISTRIBUTION"), rows)
        rows = [(str(c["name"]), "good" if c["healthy"] else "bad", str(c["reason"])) for c in checks]
        console.print_table(("CHECK", "STATE", "REASON"), rows)
    if not all(line["healthy"] for line in checks):
        console.stderr().print(
            f"{PROGRAM}: a server would start, but not everything is usable now; see the checks above", soft_wrap=True
        )
        click.get_current_context().exit(console.EXIT_FAILURE)


def _source_warnings(service: Service) -> list[str]:
    """Return a line for each source of a clock monitor that was asked and is of no use, whatever the others say."""
    return [
        f"clock monitor {name}: {source.name}: {source.outcome if source.offset is None else 'is not believed'}"
        for name, monitor in service.clock.monitors.items()
        for source in monitor.sources()
        if source.used is False or (source.offset is None and source.outcome != "not asked yet")
    ]


def _gen_time_warnings(service: Service) -> list[str]:
    """Return a line for each profile whose times some clients refuse."""
    profiles = service.settings.profiles.items()
    complaints = [(name, fraction_digits_complaint(profile.fraction_digits)) for name, profile in profiles]
    return [f"profiles.{name}.{complaint}" for name, complaint in complaints if complaint]


def _check_profile(profile: Profile) -> dict[str, str]:
    started = perf_counter()
    try:
        profile.trial_signature()
        trial = f"verified, {(perf_counter() - started) * 1000:.1f} ms"
    except SignerError as error:
        profile.signing.set(profile.signer_failed)
        trial = f"failed: {one_line(error)}"
    days = (profile.not_after - datetime.now(UTC)).days
    return {
        "profile": profile.name,
        "signer": profile.settings.scheme,
        **_details(profile),
        "algorithm": profile.algorithm.name,
        "trial signature": trial,
        "certificate": f"{profile.chain.leaf.subject.rfc4514_string()}, {days} days left",
        "chain": " <- ".join(c.subject.rfc4514_string() for c in profile.chain.certificates),
        "policies": ", ".join(profile.policies),
        "hashes": profile.hash_names,
    }


def _details(profile: Profile) -> dict[str, str]:
    """Return the signer's facts as texts; raises PluginError when it has none to give."""
    try:
        return {str(name): str(value) for name, value in profile.signer.details().items()}
    except Exception as error:
        scheme = profile.settings.scheme
        raise PluginError(
            f"the signer {scheme!r}: details failed: {type(error).__name__}: {error}", plugin=scheme
        ) from error


@server.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def version(as_json: bool) -> None:
    """Print the versions of tsa-core, Python and the cryptographic library."""
    console.print_versions(as_json=as_json)


add_program_commands(server, PROGRAM)


def main() -> None:
    """Run timestamp-server."""
    console.run(server, PROGRAM)


if __name__ == "__main__":
    main()
