"""How timestamp-cli shows a probe: progress while it runs, then a table, plain lines, or JSON.

Everything in a report is printable text; on a terminal it is printed as such, and never read as markup.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tsa_core.cli import console
from tsa_core.probe import Outcome, Reception, Report, Result, Severity, StandardVerdict

if TYPE_CHECKING:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

_ORDER: Final = {severity: number for number, severity in enumerate(Severity)}
_STYLES: Final = {
    Severity.CRITICAL: "bold white on red",
    Severity.ERROR: "bold red",
    Severity.WARNING: "yellow",
    Severity.NOTE: "cyan",
}
_GRADES: Final = {"A+": "green", "A": "green", "B": "yellow", "C": "yellow"}


@contextmanager
def watching() -> Iterator[Callable[[int, int, str], None] | None]:
    """Yield what a probe calls before each request: a bar on stderr, or nothing where nobody may be watching."""
    if not console.is_terminal(sys.stderr) or not console.has_rich():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("probing"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console.stderr(), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda number, total, title: bar.update(task, completed=number - 1, total=total, description=title)


def show(report: Report, *, as_json: bool) -> None:
    """Print a report on stdout."""
    if as_json:
        console.print_json(report.document())
    elif console.is_terminal(sys.stdout) and console.has_rich():
        _show_on_terminal(report)
    else:
        _show_plainly(report)


def _show_plainly(report: Report) -> None:
    """Print a line for each thing, its kind first and tabs between its parts, for grep and awk."""
    lines: list[Sequence[str]] = [
        ("authority", report.url),
        ("grade", report.grade.letter, *report.grade.reasons[:1]),
        ("requests", str(report.requests), report.stopped),
        *(("fact", name, value) for name, value in report.facts.items()),
    ]
    for each in report.results:
        check = each.check
        lines.append(("check", check.id, each.outcome.value, check.severity.value, ",".join(check.rules), each.text))
    for verdict in report.standards:
        lines += [("conformance", verdict.name, e.name, e.outcome, e.clause, e.reason) for e in verdict.demands]
    lines += [("client", each.client, each.reception.value, "; ".join(each.reasons)) for each in report.clients]
    for line in lines:
        console.echo("\t".join(line).rstrip("\t"))


def _show_on_terminal(report: Report) -> None:
    from rich.text import Text

    out = console.stdout()
    style = f"bold white on {_GRADES.get(report.grade.letter, 'red')}"
    words = {"hold": Outcome.HOLDS, "fail": Outcome.FAILS, "not seen": Outcome.UNSEEN}
    words["do not apply"] = Outcome.DOES_NOT_APPLY
    counts = ", ".join(f"{number} {word}" for word, each in words.items() if (number := report.count(each)))
    left_out = f"; {report.left_out} others were not asked for" if report.left_out else ""
    out.print(Text.assemble((f" {report.grade.letter} ", style), "  ", (report.url, "bold")))
    out.print(Text(f"{report.requests} requests, {len(report.results)} checks: {counts}{left_out}", style="dim"))
    if report.stopped:
        out.print(Text(f"stopped early: {report.stopped}", style="yellow"))
    out.print()
    facts = _table()
    for name, value in report.facts.items():
        facts.add_row(Text(name, style="dim"), Text(value))
    out.print(facts)
    failed = sorted(report.failed(), key=lambda each: _ORDER[each.check.severity])
    if failed:
        out.print()
        out.print(_failures(failed))
    if unseen := report.unseen():
        out.print()
        out.print(Text("Not seen", style="bold"))
        for reason, names in unseen.items():
            out.print(_indented(Text(f"{', '.join(names)}: {reason}", style="dim")))
    for verdict in report.standards:
        out.print()
        _show_standard(verdict)
    out.print()
    _show_clients(report)


def _show_standard(verdict: StandardVerdict) -> None:
    from rich.text import Text

    out = console.stdout()
    met, broken, advice = (verdict.having(each) for each in ("pass", "fail", "warn"))
    counts = f"{len(met)} demands met, {len(broken)} not, {len(verdict.having('not judged'))} not judged from outside"
    out.print(Text.assemble((verdict.title, "bold"), f": {counts}"))
    for each in (*broken, *advice):
        style = "red" if each.outcome == "fail" else "yellow"
        out.print(_indented(Text.assemble((f"{each.outcome}  ", style), each.reason, (f" ({each.clause})", "dim"))))


def _failures(failed: Sequence[Result]) -> Table:
    from rich.text import Text

    table = _table("Severity", "Rule", "What does not hold")
    for each in failed:
        check = each.check
        told = Text.assemble((f"{check.title}\n", "bold"), (f"{each.text}\n", ""), (check.meaning, "dim"))
        table.add_row(Text(check.severity.value, style=_STYLES[check.severity]), Text(" ".join(check.rules)), told)
    return table


def _show_clients(report: Report) -> None:
    from rich.text import Text

    out = console.stdout()
    by_reception = {each: [verdict for verdict in report.clients if verdict.reception is each] for each in Reception}
    works, unknown = by_reception[Reception.WORKS], by_reception[Reception.UNKNOWN]
    line = f"{len(works)} of {len(report.clients)} known clients should work"
    out.print(Text(line + (f", {len(unknown)} cannot be told" if unknown else "") + "; none was run", style="bold"))
    for verdict in by_reception[Reception.FAILS]:
        reasons = "; ".join(verdict.reasons)
        out.print(_indented(Text.assemble(("fails  ", "red"), verdict.client, (f": {reasons}", "dim"))))
    for reason in dict.fromkeys(reason for verdict in unknown for reason in verdict.reasons):
        out.print(_indented(Text(f"cannot be told: {reason}", style="dim")))


def _indented(text: Text) -> Padding:
    """Return a text whose lines all begin two columns further, those after a break too."""
    from rich.padding import Padding

    return Padding(text, (0, 0, 0, 2))


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(columns), header_style="bold")
    for number in range(max(len(columns), 2)):
        table.add_column(columns[number] if columns else "", overflow="fold", no_wrap=number == 0)
    return table
