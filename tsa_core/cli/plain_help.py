"""Shows the help that is asked for most without click, whose import takes as long as all else that a help needs.

`help_pages.json` has what click's formatter is told for these commands, before any line is broken, which
`python -m tests.cli.help_pages --write` writes, and a test compares with the commands. Lines are broken here as click
breaks them. Every other question for help is click's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

NAMES: Final = frozenset(
    {
        *("timestamp-server", "timestamp-server-serve", "timestamp-server-check"),
        *("timestamp-cli", "timestamp-cli-timestamp", "timestamp-cli-verify", "timestamp-cli-inspect"),
    }
)
"""The pages there are."""
PLUGINS: Final = ["plugins"]
"""In a page: where the commands of installed plugins stand."""
_ASKS: Final = ("--help", "-h")
_WIDEST, _NARROWEST = 100, 50
_COLUMN, _SPACING, _STEP = 30, 2, 2


def help_page(
    program: str, words: Sequence[str], of_plugins: Callable[[], Mapping[str, str] | None] = dict
) -> str | None:
    """Return the help that a command line asks for, without the end of its last line; None where it is click's.

    No words at all ask for it, too. `of_plugins` gives the commands of plugins, and None to leave the page to click.
    """
    if f"_{program}_COMPLETE".replace("-", "_").upper() in os.environ or len(words) > 2:
        return None
    if words and words[-1] not in _ASKS:
        return None
    name = f"{program}-{words[0]}" if len(words) == 2 else program
    if name not in NAMES:
        return None
    operations = pages()[name]
    if PLUGINS in operations:
        if (found := of_plugins()) is None:
            return None
        operations = list(_with_plugins(operations, found))
    return written(operations, columns()).rstrip("\n")


def pages() -> dict[str, list[list[str]]]:
    """Return the pages: calls of click's formatter, each as the name of a method and its arguments."""
    import json
    from pkgutil import get_data

    found: dict[str, list[list[str]]] = json.loads(get_data("tsa_core.cli", "help_pages.json") or b"{}")
    return found


def _with_plugins(operations: Sequence[list[str]], found: Mapping[str, str]) -> Iterator[list[str]]:
    """Put what is found of plugins in its place, but for what the core has, too."""
    own = {name for kind, *cells in operations if kind == "dl" for name in cells[::2]}
    cells = [cell for row in found.items() if row[0] not in own for cell in row]
    for operation in operations:
        if operation != PLUGINS:
            yield operation
        elif cells:
            yield from (["paragraph"], ["heading", "Commands of plugins"], ["indent"], ["dl", *cells], ["dedent"])


def columns() -> int:
    """Return the width of the terminal as shutil does, which imports compression."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size().columns or 80
    except OSError:
        return 80


def written(operations: Sequence[Sequence[str]], terminal: int) -> str:
    """Return what click's formatter writes when it is told these operations, on a terminal of so many columns."""
    width, indent = max(min(terminal, _WIDEST) - 2, _NARROWEST), 0
    parts: list[str] = []
    for name, *arguments in operations:
        if name == "usage":
            parts.append(_usage(*arguments, width=width))
        elif name == "paragraph":
            parts.append("\n" if parts else "")
        elif name == "heading":
            parts.append(f"{'':{indent}}{arguments[0]}:\n")
        elif name in {"indent", "dedent"}:
            indent += _STEP if name == "indent" else -_STEP
        elif name == "text":
            parts.append(_paragraphs(arguments[0], width, " " * indent) + "\n")
        else:
            parts.extend(_rows(arguments, width, indent))
    return "".join(parts)


def _usage(program: str, arguments: str, *, width: int) -> str:
    start = f"Usage: {program} "
    if width >= len(start) + 20:
        return _filler(width, start, " " * len(start))(arguments) + "\n"
    indent = " " * (len("Usage: ") + 4)
    return f"{start}\n{_filler(width, indent, indent)(arguments)}\n"


def _rows(cells: Sequence[str], width: int, indent: int) -> Iterator[str]:
    firsts, seconds = cells[::2], cells[1::2]
    column = min(max(map(len, firsts)), _COLUMN) + _SPACING
    for first, second in zip(firsts, seconds, strict=True):
        yield f"{'':{indent}}{first}"
        lines = _paragraphs(second, max(width - column - 2, 10), "").splitlines()
        if not lines:
            yield "\n"
            continue
        yield " " * (column - len(first)) if len(first) <= column - _SPACING else "\n" + " " * (column + indent)
        yield f"\n{'':{column + indent}}".join(lines) + "\n"


def _paragraphs(text: str, width: int, indent: str) -> str:
    """Return a text with its paragraphs filled, but for those after click's mark, a backspace alone on its line."""
    paragraphs: list[list[str]] = [[]]
    for line in text.expandtabs().splitlines():
        if line:
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    shown = []
    for first, *rest in filter(None, paragraphs):
        further = indent + " " * (len(first) - len(first.lstrip()))
        if first.strip() == "\b":
            shown.append("\n".join(f"{further}{line}" for line in rest))
        else:
            shown.append(_filler(width, further, further)(" ".join([first.lstrip(), *rest])))
    return "\n\n".join(shown)


def _filler(width: int, first: str, further: str) -> Callable[[str], str]:
    from textwrap import TextWrapper

    class Filler(TextWrapper):
        """Breaks a word that is longer than a line where that ends, as click does, and not at its hyphens."""

        def _handle_long_word(self, reversed_chunks: list[str], cur_line: list[str], cur_len: int, width: int) -> None:
            room = max(width - cur_len, 1)
            cur_line.append(reversed_chunks[-1][:room])
            reversed_chunks[-1] = reversed_chunks[-1][room:]

    return Filler(width, initial_indent=first, subsequent_indent=further, replace_whitespace=False).fill
