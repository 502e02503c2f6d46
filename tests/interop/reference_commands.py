"""The commands and flags of the Sigstore Timestamp Authority, as its own programs print them, and of Certificate Maker.

`python -m tests.interop.reference_commands --write` builds the programs (builds.py) and writes what their help texts
say into `tests/cli/reference_commands.json`; Certificate Maker, Fulcio's, takes minutes to build and is read from its
source. tests/cli compares our commands with that file; where Go is, a test compares the file with the programs.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.interop.builds import HERE, REFERENCE_PROGRAMS, built

TABLE: Final = HERE.parent / "cli" / "reference_commands.json"

CERTIFICATE_MAKER: Final = "certificate-maker"

_COBRA_FLAG: Final = re.compile(r"^ +(?:-\w, )?--(?P<name>[\w-]+)(?: (?P<type>[\w-]+))?(?: {2,}|$)(?P<text>.*)$")
_GO_FLAG: Final = re.compile(r"^ +-(?P<name>[\w-]+)(?: (?P<type>\w+))?$")
_DEFAULT: Final = re.compile(r"\(default (.*)\)$")


def read() -> dict[str, Any]:
    """Return the version and, for each command, its flags with type and default; raises NoToolchain or BuildFailed.

    A program's flags are those of all its commands; --help, which every command has, is not listed.
    """
    folder = built("reference") / "bin"
    commands: dict[str, Any] = {}
    for program in REFERENCE_PROGRAMS:
        commands |= dict(_commands(folder, (program,)))
    manifest = (HERE / "reference" / "go.mod").read_text(encoding="utf-8")
    found = re.search(r"^require (\S+ v\S+)$", manifest, re.MULTILINE)
    assert found is not None, "go.mod names the module and its version"
    maker = built("certmaker")
    [fulcio] = re.findall(r"^\t(\S+/fulcio v\S+)$", (maker / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    source = (maker / "fulcio" / "cmd" / "certificate_maker" / "certificate_maker.go").read_text(encoding="utf-8")
    commands |= {CERTIFICATE_MAKER: {}, f"{CERTIFICATE_MAKER} create": dict(_source_flags(source))}
    return {"module": found[1], "certificate_maker": fulcio, "commands": commands}


def _source_flags(source: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the flags that a source gives to Cobra, each with the variable that it is bound to, if it is."""
    variables = dict(re.findall(r'mustBindEnv\("([\w-]+)", "(\w+)"\)', source))
    for kind, name, default in re.findall(r'createCmd\.Flags\(\)\.(\w+)\("([\w-]+)", (.+?), "', source):
        described = {"type": kind.lower()}
        if default != '""':
            described["default"] = default.replace("*time.Hour", "h0m0s")
        if name in variables:
            described["variable"] = variables[name]
        yield f"--{name}", described


def _commands(folder: Path, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield a command with its flags, then the commands in it."""
    text = _help(folder, words)
    yield " ".join(words), dict(_go_flags(text) if "\nFlags:\n" not in text else _cobra_flags(text))
    for name in _names(text):
        yield from _commands(folder, (*words, name))


def _help(folder: Path, words: tuple[str, ...]) -> str:
    done = subprocess.run(
        [folder / words[0], *words[1:], "--help"], capture_output=True, text=True, timeout=60, check=False, cwd=folder
    )
    return done.stdout + done.stderr


def _names(text: str) -> list[str]:
    """Return the commands in a command; `help COMMAND` is no command of its own."""
    section = text.partition("\nAvailable Commands:\n")[2].partition("\n\n")[0]
    return [line.split()[0] for line in section.splitlines()]


def _cobra_flags(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    own = text.partition("\nFlags:\n")[2].partition("\nGlobal Flags:\n")[0]
    for line in own.splitlines():
        if (found := _COBRA_FLAG.match(line)) and found["name"] != "help":
            yield f"--{found['name']}", _described(found["type"] or "bool", found["text"])


def _go_flags(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the flags that Go's own `flag` lists: the name on one line, the text on the next."""
    lines = text.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if found := _GO_FLAG.match(line):
            yield f"-{found['name']}", _described(found["type"] or "bool", after)


def _described(kind: str, text: str) -> dict[str, str]:
    default = _DEFAULT.search(text.strip())
    return {"type": kind, **({"default": default[1]} if default else {})}


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write it into {TABLE.relative_to(HERE.parent.parent)}")
    text = rendered(read())
    if parser.parse_args(arguments).write:
        TABLE.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


def rendered(table: dict[str, Any]) -> str:
    """Return the table as the file has it."""
    return json.dumps(table, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.exit(main())
