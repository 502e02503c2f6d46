"""The commands of `timestamp-server audit`, each of which is imported when it is asked for."""

from __future__ import annotations

from typing import Final

import click

from tsa_core.cli.program_group import LazyCommand, LazyGroup

_READ, _CHANGE = "Read", "Change"
_COMMANDS: Final = {
    "verify": LazyCommand(
        "tsa_core.cli.audit.verify:verify", "Check that the trail is what was written, with nothing missing.", _READ
    ),
    "show": LazyCommand("tsa_core.cli.audit.show:show", "Print lines of the trail.", _READ),
    "find": LazyCommand(
        "tsa_core.cli.audit.find:find", "Find tokens and refusals by digest, serial number, time or tenant.", _READ
    ),
    "export": LazyCommand(
        "tsa_core.cli.audit.export:export",
        "Copy the trail and its anchors into a folder that anybody can verify.",
        _READ,
    ),
    "report": LazyCommand(
        "tsa_core.cli.audit.report:report", "Write an auditor's report of a year, as Markdown or HTML.", _READ
    ),
    "anchor": LazyCommand(
        "tsa_core.cli.audit.anchor:anchor", "Have the trail's end stamped by other authorities now.", _CHANGE
    ),
    "prune": LazyCommand(
        "tsa_core.cli.audit.prune:prune", "Remove old records, so that the rest can still be verified.", _CHANGE
    ),
    "migrate": LazyCommand("tsa_core.cli.audit.migrate:migrate", "Bring the tables of a database up to date.", _CHANGE),
    "accept": LazyCommand(
        "tsa_core.cli.audit.accept:accept",
        "Accept a trail that is not as it was left, so that tokens are issued.",
        _CHANGE,
    ),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def audit() -> None:
    """Verify, search, export and keep the audit trail.

    The trail is that of the sink which the configuration selects (--config or TSA_CONFIG, and --sink when it selects
    several), or the files that are named.
    """
