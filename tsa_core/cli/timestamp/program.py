"""timestamp-cli: its commands, each of which is imported when it is asked for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from tsa_core.cli import console
from tsa_core.cli.program_group import SHARED, LazyCommand, LazyGroup, add_version_flag
from tsa_core.cli.repeated_flags import refuse_repeated_flags
from tsa_core.cli.streams import EXIT_OUTPUT, OutputError, guarded_output, open_closed_descriptors
from tsa_core.cli.timestamp.options import PROGRAM, common_options
from tsa_core.protocol.errors import TsaError

COMMANDS: Final = {
    "timestamp": LazyCommand("tsa_core.cli.timestamp.stamp:timestamp", "Get a timestamp for a file."),
    "verify": LazyCommand(
        "tsa_core.cli.timestamp.verify:verify", "Verify a timestamp of a file, and say what the verdict is worth."
    ),
    "inspect": LazyCommand(
        "tsa_core.cli.timestamp.inspect:inspect", "Show what a timestamp says; nothing is verified."
    ),
    "help": LazyCommand("tsa_core.cli.program_help:show_help", "Show the help of the program or of a command.", SHARED),
    "completion": LazyCommand(
        "tsa_core.cli.completion:completion",
        "Print a script that lets a shell complete this program's commands and flags.",
        SHARED,
    ),
    "version": LazyCommand(
        "tsa_core.cli.timestamp.version:version",
        "Print the versions of tsa-core, Python and the cryptographic library.",
        SHARED,
    ),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every flag can also be a variable, TIMESTAMP_ and its name in capitals, or stand in the file of --config.",
)
@common_options
def cli(**_: Any) -> None:
    """Get, verify and inspect RFC 3161 timestamps."""


add_version_flag(cli, PROGRAM)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run timestamp-cli and return the exit code; every foreseen failure is one line on stderr."""
    _warn_of_nearly_named()
    console.prepare_completion(PROGRAM)
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


def _warn_of_nearly_named() -> None:
    """Say which variables may be meant for this program and are not read."""
    if not any(name.startswith(("TIMESTAMP_", "TSA_")) for name in os.environ):
        return  # to know all names takes importing all commands
    from tsa_core.cli.timestamp.variables import known_variables, nearly_named

    for name, meant in nearly_named(os.environ, known_variables(cli)):
        click.echo(f"{PROGRAM}: warning: the variable {name} is not read; {meant} is", err=True)


def _failed(text: str, code: int) -> int:
    click.echo(f"{PROGRAM}: {' '.join(text.split())}", err=True)
    return code


def main() -> NoReturn:
    """Run timestamp-cli."""
    open_closed_descriptors()
    # What cryptography thinks of other people's certificates does not help whoever reads our one line.
    warnings.simplefilter("ignore")
    raise SystemExit(run())
