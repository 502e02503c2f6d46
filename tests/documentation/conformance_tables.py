"""The tables of docs/operate/conformance.md, made from the rules in the code.

`python -m tests.documentation.conformance_tables --write` makes them anew, between the marks that name the profile:

    <!-- conformance etsi -->
    <!-- end of conformance -->
"""

from __future__ import annotations

import re
import sys

from tests.documentation.shell_blocks import ROOT
from tsa_core.conformance.profiles import CONFORMANCE
from tsa_core.conformance.rule import ConformanceRule

PAGE = ROOT / "docs" / "operate" / "conformance.md"
MARKED = re.compile(r"<!-- conformance (?P<name>[a-z]+) -->\n(?P<table>.*?)<!-- end of conformance -->\n", re.DOTALL)


def table(name: str) -> str:
    """Return the table of a conformance profile's rules."""
    rows = [_row(rule) for rule in CONFORMANCE[name].rules]
    return "\n".join(["", "| rule | when | clause | demand | setting |", "|---|---|---|---|---|", *rows, "", ""])


def _row(rule: ConformanceRule) -> str:
    when = ", ".join(rule.when) or "not checked"
    advice = "advice, " if rule.level == "should" else ""
    setting = f"`{rule.setting.format(profile='NAME')}`" if rule.when else "-"
    return f"| `{rule.name}` | {advice}{when} | {rule.clause} | {rule.demand} | {setting} |"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    written = MARKED.sub(
        lambda found: f"<!-- conformance {found['name']} -->\n{table(found['name'])}<!-- end of conformance -->\n",
        PAGE.read_text("utf-8"),
    )
    PAGE.write_text(written, encoding="utf-8")
