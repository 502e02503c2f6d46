"""timestamp-cli: runs the usual command at once, and everything else through click."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.streams import EXIT_OUTPUT, OutputError, end_at_once, guarded_output, open_closed_descriptors
from tsa_core.cli.timestamp.flags import PROGRAM
from tsa_core.cli.timestamp.quick import may_be_quick, quick_call, split_command
from tsa_core.hosting.garbage import collect_rarely
from tsa_core.protocol.errors import TemporaryFailure, TsaError

_QUICK: Final = {"timestamp": "stamp", "verify": "verify", "inspect": "inspect"}
"""Commands that need no click, and the modules that hold the function of that name and its FLAGS."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run timestamp-cli and return the exit code; every foreseen failure is one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with guarded_output():
            code = _run_quick(words)
            return _run_click(words) if code is None else code
    except UsageMistake as error:
        return _failed(str(error), console.EXIT_USAGE)
    except KeyboardInterrupt:
        return _failed("interrupted", 130)
    except TsaError as error:
        return _failed(
            str(error), console.EXIT_TEMPORARY if isinstance(error, TemporaryFailure) else console.EXIT_FAILURE
        )
    except OutputError as error:
        return EXIT_OUTPUT if error.quiet else _failed(str(error), EXIT_OUTPUT)


def _run_quick(words: Sequence[str]) -> int | None:
    """Run a command line that needs no click and return its exit code; None when it is not such a one."""
    if not may_be_quick(os.environ):
        return None
    if not words or words[-1] in {"-h", "--help"}:
        from tsa_core.cli.plain_help import help_page

        if (page := help_page(PROGRAM, words)) is not None:
            console.echo(page)
            return 0
    if (found := split_command(words)) is None:
        return None
    before, name = found
    if name not in _QUICK:
        return None
    module = import_module(f"tsa_core.cli.timestamp.{_QUICK[name]}")
    call = quick_call(before, module.FLAGS)
    if call is None:
        return None
    return getattr(module, name)(call) or 0


def _run_click(words: Sequence[str]) -> int:
    import click

    from tsa_core.cli.strict_flags import read_strictly
    from tsa_core.cli.timestamp.group import cli
    from tsa_core.cli.timestamp.variables import known_variables, nearly_named

    for name, meant in nearly_named(os.environ, known_variables(cli)):
        console.tell(f"{PROGRAM}: warning: the variable {name} is not read; {meant} is")
    console.prepare_completion(PROGRAM)
    try:
        code = read_strictly(cli).main(args=list(words), prog_name=PROGRAM, standalone_mode=False)
    except click.UsageError as error:
        return _failed(error.format_message(), console.EXIT_USAGE)
    except click.ClickException as error:
        return _failed(error.format_message(), console.EXIT_FAILURE)
    except click.Abort:
        return _failed("interrupted", 130)
    return code if isinstance(code, int) else 0


def _failed(text: str, code: int) -> int:
    console.tell(f"{PROGRAM}: {' '.join(text.split())}")
    return code


def main() -> NoReturn:
    """Run timestamp-cli."""
    collect_rarely()
    open_closed_descriptors()
    # What cryptography thinks of other people's certificates does not help whoever reads our one line.
    warnings.simplefilter("ignore")
    end_at_once(run())
