"""Verdicts as SARIF 2.1.0, which code hosts show: a result for each file whose timestamp does not hold."""

from __future__ import annotations

import os
from typing import Any, Final
from urllib.parse import quote_from_bytes

from tsa_core import __version__
from tsa_core.cli import console
from tsa_core.cli.timestamp.flags import PROGRAM
from tsa_core.cli.timestamp.many.item import shown_name
from tsa_core.cli.timestamp.many.result import Result, Verdict

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_RULES: Final = {
    Verdict.REFUSED: ("timestamp-does-not-hold", "The file has a timestamp, which breaks a rule"),
    Verdict.MISSING: ("timestamp-missing", "The file has no timestamp"),
    Verdict.UNKNOWN: ("file-unreadable", "The file or its timestamp cannot be read"),
}


class Sarif:
    """What holds is counted in the run's properties, and not listed: SARIF is for what somebody must look at."""

    def __init__(self) -> None:
        self._results: list[dict[str, Any]] = []
        self._rules: dict[str, dict[str, Any]] = {}
        self._held = 0
        self._unchecked: dict[str, str] = {}

    def add(self, result: Result) -> None:
        """Keep it for the document."""
        self._unchecked |= dict(result.unchecked)
        if result.holds:
            self._held += 1
            return
        rule, description = _RULES[result.verdict]
        if result.rule:
            rule = f"timestamp-{result.rule.lower()}"
            description = f"A timestamp must keep rule {result.rule}"
        self._rules.setdefault(rule, {"id": rule, "shortDescription": {"text": description}})
        uri = quote_from_bytes(os.fsencode(result.name), safe="/")
        self._results.append(
            {
                "ruleId": rule,
                "level": "error",
                "message": {"text": f"{shown_name(result.name)}: {shown_name(result.reason)}"},
                "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}}}],
            }
        )

    def end(self) -> None:
        """Print the document."""
        driver = {"name": PROGRAM, "version": __version__, "rules": list(self._rules.values())}
        properties = {"held": self._held, "unchecked": list(self._unchecked.values())}
        run = {"tool": {"driver": driver}, "results": self._results, "properties": properties}
        console.print_json({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})
