"""timestamp-cli: timestamp, verify, inspect, version."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from tsa_core.cli import console
from tsa_core.cli.program_group import add_program_commands
from tsa_core.cli.repeated_flags import refuse_repeated_flags
from tsa_core.cli.streams import EXIT_OUTPUT, OutputError, guarded_output, open_closed_descriptors
from tsa_core.cli.timestamp.files import read_file
from tsa_core.cli.timestamp.options import PROGRAM, common, common_options, option
from tsa_core.cli.timestamp.stamp import timestamp
from tsa_core.cli.timestamp.variables import known_variables, nearly_named
from tsa_core.cli.timestamp.verify import verify
from tsa_core.protocol.errors import TsaError


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every flag can also be a variable, TIMESTAMP_ and its name in capitals, or stand in the file of --config.",
)
@common_options
def cli(**_: Any) -> None:
    """Get, verify and inspect RFC 3161 timestamps."""


cli.add_command(timestamp)
cli.add_command(verify)


@cli.command()
@option("--timestamp", "reply", required=True, metavar="FILE", help="The reply or the bare token; - for stdin.")
@common_options
@click.pass_context
def inspect(ctx: click.Context, /, **flags: Any) -> None:
    """Show what a timestamp says; nothing is verified."""
    from tsa_core.cli.timestamp.description import describe_reply, rows

    description = describe_reply(read_file(flags["reply"]))
    if common(ctx, "output_format") == "json":
        console.print_json({"TimestampResponse": description})
    elif sys.stdout.isatty():
        console.print_table(("Field", "Value"), rows(description))
    else:
        for name, value in rows(description):
            click.echo(f"{name}: {value}")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
@click.pass_context
def version(ctx: click.Context, /, as_json: bool, **_: Any) -> None:
    """Print the versions of tsa-core, Python and the cryptographic library."""
    console.print_versions(as_json=as_json or common(ctx, "output_format") == "json")


add_program_commands(cli, PROGRAM)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run timestamp-cli and return the exit code; every foreseen failure is one line on stderr."""
    for name, meant in nearly_named(os.environ, known_variables(cli)):
        click.echo(f"{PROGRAM}: warning: the variable {name} is not read; {meant} is", err=True)
    try:
        with guarded_output():
            code = refuse_repeated_flags(cli).main(
                args=None if arguments is None else list(arguments), prog_name=PROGRAM, standalone_mode=False
            )
    except click.UsageError as error:
        return _failed(error.format_message(), console.EXIT_USAGE)
    except click.ClickException as error:
        return _failed(error.format_message(), console.EXIT_FAILURE)
    except (click.Abort, KeyboardInterrupt):
        return _failed("interrupted", 130)
    except TsaError as error:
        return _failed(str(error), console.EXIT_FAILURE)
    except OutputError as error:
        return EXIT_OUTPUT if error.quiet else _failed(str(error), EXIT_OUTPUT)
    return code if isinstance(code, int) else 0


def _failed(text: str, code: int) -> int:
    click.echo(f"{PROGRAM}: {' '.join(text.split())}", err=True)
    return code


def main() -> NoReturn:
    """Run timestamp-cli."""
    open_closed_descriptors()
    # What cryptography thinks of other people's certificates does not help whoever reads our one line.
    warnings.simplefilter("ignore")
    raise SystemExit(run())
