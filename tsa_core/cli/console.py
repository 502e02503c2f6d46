"""How the commands talk to people and to scripts.

Results go to stdout, everything else to stderr. Colour and tables appear on a terminal; piped output is plain.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.table import Table

from tsa_core import __version__
from tsa_core.api import TemporaryFailure, TsaError
from tsa_core.cli.repeated_flags import refuse_repeated_flags
from tsa_core.cli.streams import EXIT_OUTPUT, OutputError, guarded_output, is_unicode, open_closed_descriptors

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_TEMPORARY = 75
"""EX_TEMPFAIL of sysexits.h: what a service manager should try again."""


def stdout() -> Console:
    """Return the console for results."""
    return Console(file=sys.stdout, highlight=False)


def stderr() -> Console:
    """Return the console for messages."""
    return Console(file=sys.stderr, highlight=False)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; in ASCII where stdout cannot carry every character."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=not is_unicode(sys.stdout)))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None, fixed: int = 0
) -> None:
    """Print a table on a terminal, tab-separated lines without a heading when piped.

    The first `fixed` columns keep their width, so that the last ones wrap in a narrow terminal.
    """
    console = stdout()
    if not console.is_terminal:
        for row in rows:
            click.echo("\t".join(row))
        return
    table = Table(
        title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number < fixed)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def print_versions(*, as_json: bool) -> None:
    """Print the versions that a report of a fault should name."""
    from cryptography import __version__ as cryptography_version
    from cryptography.hazmat.backends.openssl.backend import backend

    facts = {
        "tsa-core": __version__,
        "python": platform.python_version(),
        "cryptography": cryptography_version,
        "openssl": backend.openssl_version_text(),
        "platform": platform.platform(),
    }
    if as_json:
        print_json(facts)
    else:
        for name, value in facts.items():
            click.echo(f"{name}: {value}")


def fail(program: str, message: str, code: int) -> NoReturn:
    """Print each line of `message` as an error of `program` and exit."""
    console = stderr()
    for line in message.splitlines() or [message]:
        console.print(f"[bold red]{program}: error:[/] ", end="")
        console.print(line, markup=False, soft_wrap=True)
    raise SystemExit(code)


def run(command: click.Command, program: str) -> NoReturn:
    """Run a command and turn every foreseen failure into lines on stderr and an exit code, never a traceback."""
    open_closed_descriptors()
    try:
        with guarded_output():
            code = refuse_repeated_flags(command).main(prog_name=program, standalone_mode=False)
    except click.UsageError as error:
        if error.ctx is not None:
            click.echo(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n", err=True)
        fail(program, error.format_message(), EXIT_USAGE)
    except click.ClickException as error:
        fail(program, error.format_message(), EXIT_FAILURE)
    except click.Abort:
        fail(program, "interrupted", 130)
    except TsaError as error:
        fail(program, str(error), EXIT_TEMPORARY if isinstance(error, TemporaryFailure) else EXIT_USAGE)
    except OutputError as error:
        if not error.quiet:
            fail(program, str(error), EXIT_OUTPUT)
        code = EXIT_OUTPUT
    raise SystemExit(code if isinstance(code, int) else 0)
