"""The report as one HTML page. Whatever came from the authority is escaped, and the page can run and load nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tsa_core import __version__
from tsa_core.documents.markup import page, shown
from tsa_core.probe import charts
from tsa_core.probe.check import Area, Outcome, Result, Severity
from tsa_core.probe.clients import Reception
from tsa_core.probe.evidence import Unseen
from tsa_core.probe.report import Report
from tsa_core.probe.standards import StandardVerdict

_TONES: Final = {"A+": "good", "A": "good", "B": "middling", "C": "middling"}
_MEANINGS: Final = {
    "A+": "Nothing fails.",
    "A": "Only warnings, and few.",
    "B": "No error, but many warnings.",
    "C": "A rule of the standards is broken.",
    "D": "Several rules of the standards are broken.",
    "E": "Many rules of the standards are broken.",
    "F": "Its timestamps cannot be relied upon.",
}
_RECEPTIONS: Final = {Reception.WORKS: "holds", Reception.FAILS: "error", Reception.UNKNOWN: "unseen"}
_WORDS: Final = {Outcome.HOLDS: "holds", Outcome.UNSEEN: "not seen", Outcome.DOES_NOT_APPLY: "does not apply"}


def html_page(report: Report) -> str:
    """Return a report as a page that needs nothing but itself: no script, no other file; light and dark."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    title = f"{report.grade.letter}: {report.url}"
    body = "\n".join(filter(None, (_head(report), _failures(report), _facts(report), *_rest(report))))
    return page(title, style, f"<main>\n{body}\n</main>")


def _rest(report: Report) -> Iterable[str]:
    yield _unseen(report)
    yield _pictures(report)
    yield from map(_standard, report.standards)
    yield _clients(report)
    yield _checks(report)
    yield _footer(report)


def _head(report: Report) -> str:
    judged = [each for each in report.results if each.outcome in {Outcome.HOLDS, Outcome.FAILS}]
    share = sum(each.outcome is Outcome.HOLDS for each in judged) / max(len(judged), 1)
    letter = report.grade.letter
    seconds = (report.finished - report.started).total_seconds()
    stopped = f'<p class="tone">Stopped early: {shown(report.stopped)}</p>' if report.stopped else ""
    left_out = f"; {report.left_out} others were not asked for" if report.left_out else ""
    tiles = [_tile("holds", report.count(Outcome.HOLDS), "checks hold")]
    tiles += [_tile(s.value, len(report.failed(s)), _plural(s, len(report.failed(s)))) for s in Severity]
    tiles.append(_tile("unseen", report.count(Outcome.UNSEEN), "not seen"))
    return (
        f'<header class="card head {_TONES.get(letter, "bad")}">{charts.badge(letter, share)}<div>'
        f'<div class="over">Timestamp authority, judged from outside</div><h1>{shown(report.url)}</h1>'
        f'<p><b class="tone">{_MEANINGS[letter]}</b></p>{stopped}'
        f'<p class="soft">{report.started:%Y-%m-%d %H:%M} UTC, {report.requests} requests in {seconds:.0f} s, '
        f"{len(report.results)} checks{left_out}</p></div></header>"
        f'<div class="tiles">{"".join(tiles)}</div>'
    )


def _plural(severity: Severity, number: int) -> str:
    return severity.value if severity is Severity.CRITICAL or number == 1 else f"{severity.value}s"


def _tile(kind: str, number: int, text: str) -> str:
    return f'<div class="card tile {kind}"><b>{number}</b><span>{text}</span></div>'


def _failures(report: Report) -> str:
    order = list(Severity)
    failed = sorted(report.failed(), key=lambda each: order.index(each.check.severity))
    if not failed:
        return ""
    cards = "".join(
        f'<div class="card failure {each.check.severity.value}">'
        f'<h3><span class="tag">{each.check.severity.value}</span>{shown(each.check.title)}</h3>'
        f'<p class="text">{shown(each.text)}</p>'
        f'<p class="meaning">{shown(each.check.meaning)} {_rules(each)}</p></div>'
        for each in failed
    )
    return f"<h2>What does not hold</h2>{cards}"


def _unseen(report: Report) -> str:
    rows = "".join(
        f"<dt>{shown(', '.join(names))}</dt><dd>{shown(reason)}</dd>" for reason, names in report.unseen().items()
    )
    return f'<h2>Not seen</h2><div class="card"><dl class="unseen">{rows}</dl></div>' if rows else ""


def _rules(result: Result) -> str:
    return f'<span class="rule">{shown(" ".join(result.check.rules))}</span>'


def _facts(report: Report) -> str:
    rows = "".join(f"<dt>{shown(name)}</dt><dd>{shown(value)}</dd>" for name, value in report.facts.items())
    legend = _legend(
        ("holds", "holds"), *((s.value, s.value) for s in reversed(Severity)), ("unseen", "not seen, does not apply")
    )
    return (
        '<h2>At a glance</h2><div class="pair">'
        f'<div class="card"><dl>{rows}</dl></div>'
        f'<div class="stack"><div class="card"><div class="over">Checks by area</div>{charts.areas(report.results)}'
        f"{legend}</div>{_lifetimes(report)}</div></div>"
    )


def _lifetimes(report: Report) -> str:
    try:
        path = report.evidence.certified().reply.path
    except Unseen:
        return ""
    return _picture("Certificates", charts.lifetimes(path, report.started), "The signer's first.")


def _legend(*entries: tuple[str, str]) -> str:
    items = "".join(f'<span class="{kind}"><i></i>{text}</span>' for kind, text in entries)
    return f'<div class="legend">{items}</div>'


def _pictures(report: Report) -> str:
    evidence = report.evidence
    pictures = [
        _picture(
            "Clock",
            charts.clock(evidence),
            "A bar for each token: where the authority's clock was, seen from this machine. It is as wide as the "
            "request took and as genTime is coarse. Shaded: the accuracy that is stated; darker: where all bars agree.",
        ),
        _picture(
            "Time to answer",
            charts.times(list(evidence.exchanges.values())),
            _legend(("holds", "granted"), ("note", "refused"), ("unseen", "other answer"), ("critical", "no answer")),
        ),
    ]
    drawn = "".join(pictures)
    return f'<h2>Measured</h2><div class="pair">{drawn}</div>' if drawn else ""


def _picture(title: str, chart: str, below: str) -> str:
    if not chart:
        return ""
    under = below if below.startswith("<") else f'<p class="soft"><small>{shown(below)}</small></p>'
    return f'<div class="card"><div class="over">{title}</div>{chart}{under}</div>'


def _clients(report: Report) -> str:
    order = (Reception.FAILS, Reception.UNKNOWN, Reception.WORKS)
    sorted_clients = sorted(report.clients, key=lambda each: order.index(each.reception))
    items = "".join(
        f'<li class="{_RECEPTIONS[each.reception]}"><i></i><div>{shown(each.client)}{_small(each.reasons)}</div></li>'
        for each in sorted_clients
    )
    works = sum(each.reception is Reception.WORKS for each in report.clients)
    legend = _legend(("holds", "nothing hinders it"), ("error", "fails"), ("unseen", "cannot be told"))
    return (
        f'<h2>Clients <span class="soft">{works} of {len(report.clients)} should work; none was run</span></h2>'
        f'<div class="card"><ul class="clients">{items}</ul>{legend}</div>'
    )


_STANDARD_KINDS: Final = {"fail": "error", "warn": "warning", "pass": "holds", "not judged": "unseen"}


def _standard(verdict: StandardVerdict) -> str:
    order = list(_STANDARD_KINDS)
    rows = "".join(
        f'<tr class="{_STANDARD_KINDS[each.outcome]}"><td><span class="state">{shown(each.outcome)}</span></td>'
        f"<td>{shown(each.demand)}{f'<p>{shown(each.reason)}</p>' if each.reason else ''}</td>"
        f'<td class="rule clause">{shown(each.clause)}</td></tr>'
        for each in sorted(verdict.demands, key=lambda each: order.index(each.outcome))
    )
    met, judged = len(verdict.having("pass")), len(verdict.having("pass", "fail", "warn"))
    return (
        f"<h2>{shown(verdict.title)} "
        f'<span class="soft">{met} of {judged} demands met, as far as shows from outside</span></h2>'
        f'<div class="card"><table>{rows}</table></div>'
    )


def _small(reasons: Sequence[str]) -> str:
    return f"<small>{shown('; '.join(reasons))}</small>" if reasons else ""


def _checks(report: Report) -> str:
    sections = []
    for area in Area:
        own = [each for each in report.results if each.check.area is area]
        if not own:
            continue
        failing = sum(each.fails for each in own)
        rows = "".join(map(_row, own))
        count = f"{len(own)} checks, {failing} fail" if failing else f"{len(own)} checks"
        sections.append(
            f'<details><summary>{area.value} <span class="soft">{count}</span></summary><table>{rows}</table></details>'
        )
    return f'<h2>Every check</h2><div class="card">{"".join(sections)}</div>'


def _row(result: Result) -> str:
    kind = charts.tone(result)
    word = result.check.severity.value if result.fails else _WORDS[result.outcome]
    text = f"<p>{shown(result.text)}</p>" if result.text else ""
    return (
        f'<tr class="{kind}"><td><span class="state">{word}</span></td>'
        f'<td>{shown(result.check.title)}{text}</td><td class="rule">{shown(" ".join(result.check.rules))}</td></tr>'
    )


def _footer(report: Report) -> str:
    unseen = "; ".join(f"{rule}: {reason}" for rule, reason in report.unseen_rules.items())
    bound = report.evidence.clock_bound
    clock = (
        "How far this machine's clock may be off was not given, so that the stated accuracy was not judged."
        if bound is None
        else f"This machine's clock was said to be within {bound:g} s of UTC; nobody checked that."
    )
    return (
        f"<footer><p>{clock} What holds is said of these {report.requests} requests, and of no others. The numbers are "
        "rules of the page docs/verify/probe.md of tsa-core. What shows to nobody from outside: "
        f"{shown(unseen)}.</p><p>Made by tsa-core {shown(__version__)}. Clients were not run: what each does with good "
        "tokens is known from tests with the real ones.</p></footer>"
    )
