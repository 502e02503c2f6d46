"""Every rule of the server, of the token and of verification has a test that bears its number."""

from __future__ import annotations

import ast
import re
from pathlib import Path

RULES = {f"s{number:02d}" for number in range(1, 31) if number != 3} | {f"c{number:02d}" for number in range(1, 13)}
RULES |= {f"v{number}" for number in range(1, 22)}
PATHS = Path(__file__).parents[1] / "paths"
"""The tests of V17 and V18, which are about certificates alone."""


def test_every_rule_has_a_test_of_its_number() -> None:
    found: set[str] = set()
    for path in (*Path(__file__).parent.glob("test_*.py"), *PATHS.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.update(re.findall(r"(?<=_)(?:[sc]\d\d|v\d+)(?=_)", node.name))
    assert RULES - found == set()
