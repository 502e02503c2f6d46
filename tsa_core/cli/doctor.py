"""timestamp-server doctor: look at everything that a server needs, and say what to do about what is wrong."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from tsa_core.cli import console
from tsa_core.cli.doctor_findings import Finding, Level
from tsa_core.cli.flag_groups import GroupedCommand
from tsa_core.cli.settings_flags import flag_groups, settings_options
from tsa_core.logs import set_up_logging

_STYLES: Final = {Level.GOOD: "green", Level.NOTE: "yellow", Level.BAD: "bold red"}


@click.command(cls=GroupedCommand, groups=flag_groups())
@settings_options
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def doctor(output_format: str, **parameters: Any) -> None:
    """Look at the installation, configuration, plugins, files, clock, certificates and ports, and say what to do.

    It opens what a server would open, makes a trial signature, and changes nothing. Exit code 0: nothing is bad. 1:
    something is. A note is worth reading and stops nothing.

    \b
    Examples:
      timestamp-server doctor --config tsa.toml
      timestamp-server doctor --format json > report.json
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.cli.doctor_examination import examine

    set_up_logging(level=logging.CRITICAL)
    examined = examine(parameters)
    if output_format == "json":
        console.print_json(examined.document())
    else:
        _print(examined.findings)
        console.print_table(("CHANGED SETTING", "VALUE", "ORIGIN"), examined.changed)
        click.echo()
        for number, step in enumerate(examined.next_steps, 1):
            click.echo(f"{number}. {step}")
    if not examined.healthy:
        click.get_current_context().exit(console.EXIT_FAILURE)


def _print(findings: Sequence[Finding]) -> None:
    """Print the findings by section: on a terminal with colours, else a line each, its fields separated by tabs."""
    if not console.is_terminal(sys.stdout):
        for finding in findings:
            click.echo(f"{finding.section}\t{finding.level.value}\t{finding.what}\t{finding.whole}")
        return
    from rich.markup import escape
    from rich.table import Table

    screen = console.stdout()
    for section in dict.fromkeys(finding.section for finding in findings):
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for finding in findings:
            if finding.section == section:
                style = _STYLES[finding.level]
                table.add_row(f"[{style}]{finding.level.value}[/]", escape(finding.what), escape(finding.whole))
        screen.print(f"[bold]{section}[/]")
        screen.print(table)
