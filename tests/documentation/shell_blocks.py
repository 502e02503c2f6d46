"""The shell blocks of README and documentation: what is typed, and what is said about running it.

A block is fenced as `console`. A line that begins with `$ ` is typed, with the lines that continue it by a backslash, a
quotation that is open or a here document; the others are what it prints. A comment on the line before the fence says
what a test does with it:

    <!-- not run: needs an AWS account -->      nothing is run; programs of ours must have the commands and flags
    <!-- runs on -->                            it is a server; it is started, and stopped when the page is done
    <!-- ends with 1 -->                        its last command ends with this code

Without one, everything is typed in a folder that the page has for itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(
        page
        for page in (ROOT / "docs").rglob("*.md")
        # Decisions tell of their time, and docs/plugin has copies of the plugins' READMEs.
        if page.parent.name != "decisions" and not page.match("docs/plugin/tsa-*.md")
    ),
    *sorted(ROOT.glob("plugins/*/README.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
)
SHELLS = ("console", "shell", "sh", "bash")
_FENCE = re.compile(r"^(?P<indent> *)```\{?(?P<language>[\w-]*)")
_COMMENT = re.compile(r"^ *<!-- (?:not run: (?P<reason>.+)|(?P<on>runs on)|ends with (?P<code>\d+)) -->$")
_HERE = re.compile(r"<<-?\s*'?(\w+)'?")


@dataclass(frozen=True)
class Step:
    """One command as it is typed, and the lines that it prints."""

    command: str
    output: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    line: int
    """Of its fence."""
    language: str
    text: str
    reason: str | None = None
    """Why it is not run."""
    runs_on: bool = False
    code: int = 0
    """With which its last command ends."""

    @property
    def place(self) -> str:
        """The page and line, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def steps(self) -> Iterator[Step]:
        """Yield what is typed, in order."""
        command: list[str] = []
        output: list[str] = []
        ending = ""
        for line in self.text.splitlines():
            if ending:
                command.append(line)
                ending = "" if line.strip() == ending else ending
            elif command and not output and (command[-1].endswith("\\") or _is_open("\n".join(command))):
                command.append(line)
            elif line.startswith("$ "):
                if command:
                    yield Step("\n".join(command), tuple(output))
                command, output = [line.removeprefix("$ ")], []
                here = _HERE.search(line)
                ending = here[1] if here else ""
            elif not command:
                raise AssertionError(f"{self.place}: {line!r} stands before the first command")
            else:
                output.append(line)
        if command:
            yield Step("\n".join(command), tuple(output))


def _is_open(command: str) -> bool:
    """Tell whether a quotation goes on in the next line."""
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return False


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page; one inside another fence is not looked at."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if not fence:
            number += 1
            continue
        indent = fence["indent"]
        before = _COMMENT.match(lines[number - 1]) if number else None
        end = number + 1
        while end < len(lines) and lines[end].rstrip() != f"{indent}```":
            end += 1
        yield Block(
            page=page,
            line=number + 1,
            language=fence["language"],
            text="\n".join(line.removeprefix(indent) for line in lines[number + 1 : end]),
            reason=before["reason"] if before else None,
            runs_on=bool(before and before["on"]),
            code=int(before["code"] or 0) if before else 0,
        )
        number = end + 1


def shell_blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that are typed into a shell."""
    return [block for block in blocks(page) if block.language in SHELLS]
