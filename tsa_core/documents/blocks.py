"""What a document is made of. All texts are plain: whatever stands in them is shown, and nothing is markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

GAP = "TO BE COMPLETED BY THE AUTHORITY:"
"""What stands before a text that the configuration does not hold."""


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading; `level` 1 is the document's title."""

    level: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """A paragraph; `tone` says what a reader must not overlook."""

    text: str
    tone: Literal["plain", "good", "warning"] = "plain"


@dataclass(frozen=True, kw_only=True)
class Items:
    """A list without numbers."""

    texts: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """What somebody has to write here; `key` names it in a file of answers."""

    key: str
    question: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; the columns whose numbers are in `code` hold hashes, OIDs and the like. Empty ones say `nothing`."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    code: frozenset[int] = frozenset()
    nothing: str = "None."


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Counts by label, stacked by series: `counts[series][label]`. The Markdown has them as a table."""

    title: str
    labels: Sequence[str]
    series: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Span:
    """A time on a row of a timeline; `hint` is told when somebody points at it."""

    begin: datetime
    end: datetime
    hint: str
    tone: Literal["plain", "good", "warning"] = "plain"


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Spans of time by row. The Markdown leaves it out: a table says the same beside it."""

    title: str
    begin: datetime
    end: datetime
    rows: Sequence[tuple[str, Sequence[Span]]]


Block: TypeAlias = Heading | Paragraph | Items | Gap | Table | Bars | Timeline


@dataclass(kw_only=True)
class Document:
    """A title and what follows it."""

    title: str
    blocks: list[Block] = field(default_factory=list)
