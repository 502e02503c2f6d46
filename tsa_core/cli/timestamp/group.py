"""timestamp-cli as click sees it: for help, completion, variables, configuration files, and every mistake."""

from __future__ import annotations

from typing import Any, Final

import click

from tsa_core.cli.program_group import LazyCommand, LazyGroup, add_version_flag, shared_commands
from tsa_core.cli.timestamp import inspect, stamp, verify
from tsa_core.cli.timestamp.flags import PROGRAM
from tsa_core.cli.timestamp.options import click_command, common_options

_LONG_TERM: Final = "For decades"
"""The group of the help for what keeps timestamps verifiable, and finds them in files."""
_LAZY: Final = {
    "extend": LazyCommand(
        "tsa_core.cli.timestamp.longterm_commands:EXTEND",
        "Put a later timestamp over one, before it weakens.",
        _LONG_TERM,
    ),
    "git": LazyCommand(
        "tsa_core.cli.timestamp.longterm_commands:GIT",
        "Timestamp Git commits and tags, and verify them against the history.",
        _LONG_TERM,
    ),
    "extract": LazyCommand(
        "tsa_core.cli.timestamp.longterm_commands:EXTRACT",
        "Find the timestamps in signatures, PDF, ASiC, JAR, programs, bundles, images.",
        _LONG_TERM,
    ),
    "evidence": LazyCommand(
        "tsa_core.cli.timestamp.evidence.commands:EVIDENCE",
        "Proof for decades, of one file or a million, in evidence records (RFC 4998).",
        _LONG_TERM,
    ),
    "cose": LazyCommand(
        "tsa_core.cli.timestamp.longterm_commands:COSE",
        "Put timestamps into COSE messages, and verify them.",
        _LONG_TERM,
    ),
}
_LOG: Final = {
    "log": LazyCommand(
        "tsa_core.cli.timestamp.log_commands:log",
        "Prove that timestamps are in a public log, and look after a log.",
        _LONG_TERM,
    ),
}
_WHOM: Final = "Authorities and settings"
_TRUST: Final = {
    "certchain": LazyCommand(
        "tsa_core.cli.timestamp.trust_commands:CERTCHAIN",
        "Get the certificate chain of an authority.",
        _WHOM,
    ),
    "probe": LazyCommand(
        "tsa_core.cli.timestamp.trust_commands:PROBE",
        "Judge an authority from outside: what it grants, refuses and signs, and who can use it.",
        _WHOM,
    ),
    "tsa": LazyCommand("tsa_core.cli.timestamp.trust_commands:TSA", "List the authorities that have names.", _WHOM),
    "config": LazyCommand(
        "tsa_core.cli.timestamp.trust_commands:CONFIG", "Show the settings and where they come from.", _WHOM
    ),
}
_SHARED: Final = shared_commands("tsa_core.cli.timestamp.version:version")


@click.group(
    cls=LazyGroup,
    lazy={**_LAZY, **_LOG, **_TRUST, **_SHARED},
    usual="Timestamps",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every flag can also be a variable, TIMESTAMP_ and its name in capitals, or stand in the file of --config.",
)
def cli(**_: Any) -> None:
    """Get, verify and inspect RFC 3161 timestamps."""


cli.params += common_options()
add_version_flag(cli, PROGRAM)
for _command in (
    click_command("timestamp", stamp.timestamp, stamp.FLAGS, paths=True),
    click_command("verify", verify.verify, verify.FLAGS, paths=True),
    click_command("inspect", inspect.inspect, inspect.FLAGS),
):
    cli.add_command(_command)
