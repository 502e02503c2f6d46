"""timestamp-server serve: issue timestamps, and say at the start what is served and where."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from tsa_core.cli import console
from tsa_core.cli.flag_groups import GroupedCommand
from tsa_core.cli.settings_flags import flag_groups, settings_options
from tsa_core.hosting.answered import Answered

log = logging.getLogger(__name__)


@click.command(cls=GroupedCommand, groups=flag_groups())
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
    # Here, since whoever asks for help needs none of it.
    from tsa_core.cli.reference_settings import load
    from tsa_core.hosting.notify import notify_ready
    from tsa_core.hosting.serving import serve as serve_http
    from tsa_core.logs import say, set_up_logging
    from tsa_core.service.memory_protection import forbid_memory_dumps

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

    def stopped(answered: Answered) -> None:
        if for_people:
            say(f"stopped: {answered.text}")
        else:
            log.log(logging.INFO if answered is Answered.ALL else logging.WARNING, "stopped: %s", answered.text)

    serve_http(settings, announce, stopped, read_again=lambda: load(parameters).settings)


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
    from tsa_core.service import selection_text

    for profile in facts["profiles"]:
        yield f"profile {profile['name']}: {profile['algorithm']}, policy {profile['policy']}, {_ends(profile)}"
    yield f"plugins: {selection_text(facts['selected'])}"
    if "metrics" in facts:
        yield f"metrics at {facts['metrics']}"
    for address in facts["addresses"]:
        post = "" if address.startswith("unix:") else f" (POST {address}/api/v1/timestamp)"
        yield f"listening on {address}{post}; Ctrl-C stops"
    for address in facts["profiling"]:
        yield f"profiling on {address}"


def _ends(profile: Mapping[str, Any]) -> str:
    """Return when certificates and key end, as two facts."""
    ends = f"certificate until {profile['certificates_end'][:10]}"
    return f"{ends}, its key until {profile['key_usage_end'][:10]}" if profile["key_usage_end"] else ends


def _announce(facts: Mapping[str, Any]) -> None:
    """Say on stderr what is served and where, and warn of keys that nobody should trust."""
    from tsa_core.logs import say

    if console.is_terminal(sys.stderr):
        from tsa_core.cli.start_summary import print_summary

        print_summary(facts)
        return
    for warning in facts["warnings"]:
        say(f"WARNING: {warning}")
    for line in _announcement(facts):
        say(line)


def _log_announcement(facts: Mapping[str, Any]) -> None:
    """Say the same in one line of the log, for programs; a warning has a line of its own, for its level."""
    for warning in facts["warnings"]:
        log.warning("%s", warning)
    addresses = ("listening on", "profiling on")
    lines = [line.removesuffix("; Ctrl-C stops") for line in _announcement(facts) if line.startswith(addresses)]
    serving = {name: value for name, value in facts.items() if name not in {"warnings", "files"}}
    log.info("%s", "; ".join(lines), extra={"serving": serving})
