"""Verdicts as JUnit's XML, which CI systems show: a test case for each file."""

from __future__ import annotations

import re
import sys
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from tsa_core.cli.timestamp.many.item import shown_name
from tsa_core.cli.timestamp.many.result import Result, Verdict
from tsa_core.cli.timestamp.shown import shown_time

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document holds (XML 1.0 2.2)."""


class JUnit:
    """A failure is a timestamp that does not hold or is missing, an error what could not be read."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._cases: list[str] = []
        self._counts = dict.fromkeys(Verdict, 0)

    def add(self, result: Result) -> None:
        """Keep it for the document."""
        self._counts[result.verdict] += 1
        if self._quiet and result.holds:
            return
        start = f'    <testcase classname="timestamps" name={_attribute(shown_name(result.name))}'
        if result.holds:
            said = [f"Time: {shown_time(result.time)}" if result.time else "", f"Signer: {result.signer}"]
            said += [f"Not checked: {text}" for _, text in result.unchecked]
            text = _text("\n".join(filter(None, said)))
            self._cases.append(f"{start}>\n      <system-out>{text}</system-out>\n    </testcase>")
            return
        kind = "error" if result.verdict is Verdict.UNKNOWN else "failure"
        message = f"message={_attribute(result.reason)} type={_attribute(result.rule or result.verdict.value)}"
        self._cases.append(f"{start}>\n      <{kind} {message}/>\n    </testcase>")

    def end(self) -> None:
        """Print the document."""
        total = sum(self._counts.values())
        errors = self._counts[Verdict.UNKNOWN]
        failures = total - errors - self._counts[Verdict.HOLDS]
        counts = f'tests="{total}" failures="{failures}" errors="{errors}"'
        lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {counts}>"]
        lines += [f'  <testsuite name="timestamps" {counts}>', *self._cases, "  </testsuite>", "</testsuites>"]
        document = "\n".join(lines) + "\n"
        # As numbers, what stdout cannot carry; the document says UTF-8 in any case.
        sys.stdout.write(document.encode("ascii", "xmlcharrefreplace").decode())


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("?", text), {"\n": "&#10;", "\t": "&#9;"})


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("?", text))
