"""The table of checks in docs/verify/probe.md: `python -m tests.probe.check_table --write` makes it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from tsa_core.probe import CHECKS, Area
from tsa_core.probe.checks import UNSEEN_RULES

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "verify" / "probe.md"
BEGIN, END = "<!-- made by python -m tests.probe.check_table --write -->\n", "<!-- end -->\n"


def table() -> str:
    """Return the checks by area, and the rules that nobody sees."""
    lines: list[str] = []
    for area in Area:
        lines += ["", f"### {area}", "", "| check | rule | severity | what holds |", "|---|---|---|---|"]
        for each in CHECKS:
            if each.area is area:
                lines.append(f"| `{each.id}` | {', '.join(each.rules)} | {each.severity} | {each.title} |")
    lines += ["", "### Not seen from outside", "", "| rule | why |", "|---|---|"]
    lines += [f"| {rule} | {reason} |" for rule, reason in UNSEEN_RULES.items()]
    return "\n".join([*lines[1:], "", ""])


def written() -> str:
    """Return the table as the page has it."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    if "--write" in sys.argv:
        before, _, rest = text.partition(BEGIN)
        PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")
    else:
        sys.stdout.write(table())
