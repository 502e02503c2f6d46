"""How verdicts on many files are printed: a table, JSON, JSON lines, JUnit's XML, SARIF."""

from __future__ import annotations

import json
import sys
from typing import Any, Protocol

from tsa_core.cli import console
from tsa_core.cli.streams import is_unicode
from tsa_core.cli.timestamp.many.item import shown_name
from tsa_core.cli.timestamp.many.result import Result
from tsa_core.cli.timestamp.shown import shown_time


class Reporter(Protocol):
    """Gets the verdicts in the order of the files; `quiet` ones leave out what holds."""

    def add(self, result: Result) -> None:
        """Take a verdict."""

    def end(self) -> None:
        """Print what is left to print."""


def reporter_of(name: str, *, quiet: bool) -> Reporter:
    """Return the reporter of that name."""
    if name == "junit":
        from tsa_core.cli.timestamp.many.junit import JUnit

        return JUnit(quiet=quiet)
    if name == "sarif":
        from tsa_core.cli.timestamp.many.sarif import Sarif

        return Sarif()
    reporters: dict[str, type[Table | Document | Lines]] = {"table": Table, "json": Document, "jsonl": Lines}
    return reporters[name](quiet=quiet)


class Table:
    """A table on a terminal, lines with tabs when piped: file, verdict, time, and who signed or what is wrong."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._rows: list[list[str]] = []
        self._on_terminal = console.is_terminal(sys.stdout) and console.has_rich()

    def add(self, result: Result) -> None:
        """Print a line; on a terminal, wait for all, whose widths make the table's."""
        if self._quiet and result.holds:
            return
        detail = result.signer if result.holds else " ".join(filter(None, (result.rule, shown_name(result.reason))))
        time = shown_time(result.time) if result.time else "-"
        row = [shown_name(result.name), result.verdict.value, time, detail]
        if self._on_terminal:
            self._rows.append(row)
        else:
            sys.stdout.write("\t".join(row) + "\n")

    def end(self) -> None:
        """Print the table."""
        if self._rows:
            from rich.markup import escape

            console.print_table(
                ("File", "Verdict", "Time", "Signer, or what is wrong"),
                [[escape(cell) for cell in row] for row in self._rows],
            )


class Lines:
    """One JSON document on each line."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._ascii = not is_unicode(sys.stdout)

    def add(self, result: Result) -> None:
        """Print a line."""
        if not (self._quiet and result.holds):
            sys.stdout.write(json.dumps(result.document(), ensure_ascii=self._ascii) + "\n")

    def end(self) -> None:
        """Have nothing left to print."""


class Document:
    """One JSON document."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._files: list[dict[str, Any]] = []
        self._all = True

    def add(self, result: Result) -> None:
        """Keep it for the document."""
        self._all = self._all and result.holds
        if not (self._quiet and result.holds):
            self._files.append(result.document())

    def end(self) -> None:
        """Print the document."""
        console.print_json({"Verified": self._all, "Files": self._files})
