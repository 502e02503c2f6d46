"""What is said of a plugin that is not installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tsa_core.api.installation import hint_for, known_names
from tsa_core.host.kinds import KINDS, Kind


def missing_text(kind: Kind[Any] | None, name: str, *, installed: Sequence[str], install: str = "") -> str:
    """Return the message: what there is, the nearest name, and how to add it where the name is one of ours.

    `installed` are the names of that kind, or of all kinds without one; `install` is what the plugin that asks says.
    """
    kinds = [kind.name] if kind else [each.name for each in KINDS]
    ours = sorted({each for one in kinds for each in known_names(one)})
    there = f"installed: {', '.join(installed) or 'none'}"
    text = f"no {kind.label if kind else 'plugin'} {name!r} is installed"
    if name in ours or install:
        return f"{text}; {there}; to add it: {_hint(kinds, name) or install}"
    import difflib  # for mistakes alone

    near = difflib.get_close_matches(name, [*installed, *ours], n=1)
    if not near:
        more = [each for each in ours if each not in installed]
        others = f"; to be had from this project: {', '.join(more)}" if more else ""
        return f"{text}, and tsa-core has none of that name; {there}{others}"
    text = f"{text}; did you mean {near[0]!r}?"
    return f"{text} {there}" if near[0] in installed else f"{text} To add that: {_hint(kinds, near[0])}; {there}"


def _hint(kinds: Sequence[str], name: str) -> str:
    return next(filter(None, (hint_for(kind, name) for kind in kinds)), "")
