"""What `serve` shows on a terminal at its start: listeners, profiles, signers, ends, clock, audit, plugins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from tsa_core.cli import console
from tsa_core.service import kind_text

if TYPE_CHECKING:
    from rich.console import Console

_SOON_DAYS: Final = 90
_SHOWN_ELSEWHERE: Final = frozenset({"signers", "clock", "clock_monitors", "audit_sinks"})


def print_summary(facts: Mapping[str, Any], screen: Console | None = None) -> None:
    """Print the facts of a start on stderr, for people; `screen` is another console, for tests."""
    screen = screen or console.stderr()
    for warning in facts["warnings"]:
        screen.print(Panel(escape(warning), title="not for real use", border_style="bold yellow", style="yellow"))
    screen.print(
        Panel(
            Group(*_parts(facts)),
            title="[bold green]timestamp-server is ready[/]",
            subtitle="Ctrl-C stops",
            border_style="green",
            box=ROUNDED,
            padding=(1, 2),
        )
    )


def _parts(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield _table(_listeners(facts))
    for profile in facts["profiles"]:
        yield ""
        yield _table(_profile(profile))
    yield ""
    yield _table(_rest(facts))


def _table(rows: Iterator[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True, min_width=12)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def _listeners(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for number, address in enumerate(facts["addresses"]):
        post = "" if address.startswith("unix:") else f"  [dim]POST {escape(address)}/api/v1/timestamp[/]"
        yield "" if number else "listening on", f"[cyan]{escape(address)}[/]{post}"
    if "metrics" in facts:
        yield "metrics", escape(facts["metrics"])
    for address in facts["profiling"]:
        yield "profiling", escape(address)


def _profile(profile: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "profile", f"[bold]{escape(profile['name'])}[/]  {escape(profile['subject'])}"
    yield "signer", f"{escape(profile['signer'])}, {escape(profile['algorithm'])}, policy {escape(profile['policy'])}"
    yield "chain ends", _day(profile["certificates_end"])
    if profile["key_usage_end"]:
        yield "key signs to", _day(profile["key_usage_end"])


def _day(moment: str) -> str:
    """Return a day, and how far it is when it is near."""
    end = datetime.fromisoformat(moment)
    days = (end - datetime.now(UTC)).days
    return f"{end:%Y-%m-%d}" + (f"  [bold red]in {days} days[/]" if days <= _SOON_DAYS else "")


def _rest(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    selected: Mapping[str, Sequence[str]] = facts["selected"]
    clock = facts["clock"]
    style = "bold red" if not clock["issuing"] else "green" if selected["clock_monitors"] else "yellow"
    monitors = ", ".join(selected["clock_monitors"]) or "no monitor"
    yield "clock", f"[{style}]{escape(clock['state'])}[/]  {escape(', '.join(selected['clock']))}, {escape(monitors)}"
    yield "audit", escape(", ".join(selected["audit_sinks"])) or "[dim]none[/]"
    others = [(kind, names) for kind, names in selected.items() if names and kind not in _SHOWN_ELSEWHERE]
    text = "; ".join(f"{kind_text(kind)}: {', '.join(names)}" for kind, names in others)
    yield "plugins", escape(text) or "[dim]none[/]"
