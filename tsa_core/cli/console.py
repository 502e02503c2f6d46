"""How the commands talk to people and to scripts.

Results go to stdout, everything else to stderr. Colour and tables appear on a terminal; piped output is plain.
Every command imports this module, so it imports rich and click, which take as long as a whole command, when they are
needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, NoReturn

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.streams import EXIT_OUTPUT, OutputError, guarded_output, is_unicode, open_closed_descriptors
from tsa_core.protocol.errors import TemporaryFailure, TsaError

if TYPE_CHECKING:
    import click
    from rich.console import Console

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_TEMPORARY = 75
"""EX_TEMPFAIL of sysexits.h: what a service manager should try again."""
_RED, _PLAIN = "\x1b[1;31m", "\x1b[0m"


def is_terminal(stream: IO[str]) -> bool:
    """Say whether a person looks at a stream; FORCE_COLOR says so too, as for rich."""
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def has_rich() -> bool:
    """Say whether tables, colours and progress bars can be had; an installation for verification alone has no rich."""
    from importlib.util import find_spec

    return find_spec("rich") is not None


def stdout() -> Console:
    """Return the console for results."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False)


def stderr() -> Console:
    """Return the console for messages."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False)


def echo(text: str, *, err: bool = False) -> None:
    """Print a text and the end of its line on stdout, or on stderr."""
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


def tell(line: str, *, start: str = "") -> None:
    """Print one line of a message on stderr; what is no printable character, and may be hostile, becomes a ?.

    A message may quote what somebody typed in the wrong place: a PIN or password within a URI is left out. `start` is
    printed before it as it is. All of it is one write: the thread that writes the log may write, too.
    """
    if "=" in line or ":/" in line:
        from tsa_core.secret_parts import without_secret_parts

        line = without_secret_parts(line)
    echo(start + "".join(c if c.isprintable() else "?" for c in line), err=True)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; in ASCII where stdout cannot carry every character."""
    import json

    echo(json.dumps(document, indent=2, ensure_ascii=not is_unicode(sys.stdout)))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None, fixed: int = 0
) -> None:
    """Print a table on a terminal, tab-separated lines without a heading when piped, or where rich is not installed.

    The first `fixed` columns keep their width, so that the last ones wrap in a narrow terminal.
    """
    if not is_terminal(sys.stdout) or not has_rich():
        for row in rows:
            echo("\t".join(row))
        return
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number < fixed)
    for row in rows:
        table.add_row(*row)
    stdout().print(table)


def print_facts(columns: Sequence[str], rows: Sequence[Sequence[str]], *, fixed: int = 0) -> None:
    """Print names with values: a table on a terminal with rich, else `name: value` on lines of their own."""
    if is_terminal(sys.stdout) and has_rich():
        print_table(columns, rows, fixed=fixed)
        return
    for name, value in rows:
        echo(f"{name}: {value}")


def fail(program: str, message: str, code: int) -> NoReturn:
    """Print each line of `message` as an error of `program` and exit."""
    coloured = is_terminal(sys.stderr) and not os.environ.get("NO_COLOR")
    start = f"{_RED}{program}: error:{_PLAIN} " if coloured else f"{program}: error: "
    if logging := sys.modules.get("logging"):  # its warnings may say why, so they come first
        for handler in logging.getLogger().handlers:
            handler.flush()
    for line in message.splitlines() or [message]:
        tell(line, start=start)
    raise SystemExit(code)


def prepare_completion(program: str) -> None:
    """Make our shells known to click when a shell asks the program to complete a line."""
    if f"_{program}_COMPLETE".replace("-", "_").upper() in os.environ:
        import tsa_core.cli.completion  # noqa: F401 - importing it is what makes them known


def show(text: str, program: str) -> NoReturn:
    """Print a text on stdout and exit, as `run` does with a command that only prints."""
    open_closed_descriptors()
    try:
        with guarded_output():
            echo(text)
    except OutputError as error:
        _fail_to_print(error, program)
    raise SystemExit(0)


def _fail_to_print(error: OutputError, program: str) -> NoReturn:
    if not error.quiet:
        fail(program, str(error), EXIT_OUTPUT)
    raise SystemExit(EXIT_OUTPUT)


def run(command: click.Command, program: str) -> NoReturn:
    """Run a command and turn every foreseen failure into lines on stderr and an exit code, never a traceback."""
    import click

    from tsa_core.cli.strict_flags import read_strictly

    open_closed_descriptors()
    prepare_completion(program)
    try:
        with guarded_output():
            code = read_strictly(command).main(prog_name=program, standalone_mode=False)
    except click.UsageError as error:
        if error.ctx is not None:
            echo(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n", err=True)
        fail(program, error.format_message(), EXIT_USAGE)
    except click.ClickException as error:
        fail(program, error.format_message(), EXIT_FAILURE)
    except click.Abort:
        fail(program, "interrupted", 130)
    except UsageMistake as error:
        fail(program, str(error), EXIT_USAGE)
    except TsaError as error:
        fail(program, str(error), EXIT_TEMPORARY if isinstance(error, TemporaryFailure) else EXIT_USAGE)
    except OutputError as error:
        _fail_to_print(error, program)
    raise SystemExit(code if isinstance(code, int) else 0)
