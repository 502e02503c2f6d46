"""What became of each of many files that were to be timestamped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tsa_core.cli.timestamp.many.item import Item, json_name, shown_name
from tsa_core.cli.timestamp.shown import shown_time


class State(StrEnum):
    """`UNASKED`: the run ended before its turn came."""

    STAMPED = "timestamped"
    KEPT = "had its timestamp already"
    FAILED = "failed"
    UNASKED = "not asked for"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A file, what became of it, and its timestamp; `text` says why there is none.

    `digest` is `NAME:HEX`, empty when the file was not read; `size` is in octets, None when it is not known.
    """

    item: Item
    state: State
    text: str = ""
    time: datetime | None = None
    location: str | None = None
    digest: str = ""
    size: int | None = None
    warnings: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return what JSON says of it."""
        return {
            **json_name(self.item.name),
            "State": self.state.name.lower(),
            **({"Timestamp": shown_time(self.time)} if self.time is not None else {}),
            **({"Location": shown_name(self.location)} if self.location is not None else {}),
            **({"Reason": self.text} if self.text else {}),
            **({"Warnings": list(self.warnings)} if self.warnings else {}),
        }


def count_words(outcomes: Iterable[Outcome]) -> str:
    """Return how many of each kind there are, in words; kinds without any are left out."""
    counts = Counter(outcome.state for outcome in outcomes)
    parts = [f"{state.value}: {counts[state]:,}" for state in State if counts[state]]
    return f"files: {counts.total():,}; {', '.join(parts)}"
