"""Runs timestamp-server: shows a question for help at once, and everything else through click."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final, NoReturn

from tsa_core.cli import console
from tsa_core.cli.plain_help import help_page
from tsa_core.cli.streams import end_at_once
from tsa_core.hosting.garbage import collect_rarely

PROGRAM: Final = "timestamp-server"


def main() -> None:
    """Run timestamp-server, and raise SystemExit with its exit code."""
    collect_rarely()
    if (page := help_page(PROGRAM, sys.argv[1:], commands_of_plugins)) is not None:
        console.show(page, PROGRAM)
    from tsa_core.cli.server_group import server

    console.run(server, PROGRAM)


def commands_of_plugins() -> Mapping[str, str] | None:
    """Return the commands of plugins; None without the signer memory, where the help ends otherwise."""
    from tsa_core.cli.plugin_commands import COMMANDS, PLUGINS, names_in_metadata

    found = names_in_metadata()
    return found[COMMANDS] if "memory" in found[PLUGINS] else None


def _ends_at_once(words: list[str]) -> bool:
    """Say whether a command line leaves nothing to do when it has been carried out: it serves nothing."""
    if not words or words[0] in {"-h", "--help", "--version"} or (len(words) == 2 and words[1] in {"-h", "--help"}):
        return True
    from tsa_core.cli.server_group import COMMANDS

    return words[0] != "serve" and words[0] in COMMANDS


def program() -> NoReturn:
    """Run timestamp-server as a process."""
    # pydantic would read the metadata of every installed distribution for plugins of its own, which log validations.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        main()
    except SystemExit as error:
        if isinstance(error.code, int) and _ends_at_once(sys.argv[1:]):
            end_at_once(error.code)
        raise
    raise AssertionError("unreachable: main raises SystemExit")


if __name__ == "__main__":
    program()
