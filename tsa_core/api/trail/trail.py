"""A trail, as `timestamp-server audit` and the verifier see it: whatever a sink stores its lines in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, NamedTuple

from tsa_core.api.errors import TsaError
from tsa_core.api.trail.anchor import Anchor
from tsa_core.api.trail.chain import BrokenChainError, Link, read_line
from tsa_core.api.trail.search import TOKEN, Query
from tsa_core.api.trail.segment import Segment


class UnsupportedByTrail(TsaError):
    """The sink cannot do this with its trail."""


class TrailLine(NamedTuple):
    """A line that was found: as it is stored, with its newline, its object, and the segment that has it."""

    segment: str
    line: bytes
    fields: Mapping[str, Any]


class UnreadableLine(NamedTuple):
    """A line that is none, met while searching: the segment, the line's number there, and what is wrong."""

    segment: str
    number: int
    reason: str


class Trail(ABC):
    """The lines of a sink, read apart from it, also while servers write. For one thread at a time.

    A sink's Provider opens it (`open_trail`), with the sink's own options. It writes nothing unless it is told to.
    Methods raise TsaError: ConfigError when the store cannot be reached or read, UnsupportedByTrail for what this kind
    of trail cannot do. Each chain of lines belongs to one writer: a trail that all processes write to under a lock has
    one chain, "".
    """

    name: str
    """The sink's name, for messages."""
    key: bytes | None = None
    """What the lines are chained with, None for hashes alone."""

    @abstractmethod
    def segments(self) -> Sequence[Segment]:
        """Return the pieces of all chains, those of one chain in their order, each once."""

    @abstractmethod
    def heads(self) -> Mapping[str, Link]:
        """Return the last line of each chain that has one, on the disk when this returns; cheap, without a check."""

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with what the trail keeps beside its lines, a seal over several chains for example."""
        return iter(())

    def find(self, query: Query) -> Iterator[TrailLine | UnreadableLine]:
        """Yield the lines that a query means, in the order of their chains; nothing is verified.

        This one reads all lines. A store with an index overrides it.
        """
        for segment in self.segments():
            for number, line in enumerate(segment.lines(), 1):
                try:
                    fields, _ = read_line(line)
                except BrokenChainError as error:
                    yield UnreadableLine(segment.name, number, str(error))
                    continue
                if query.matches(fields):
                    yield TrailLine(segment.name, line, fields)

    def records_digests(self) -> bool:
        """Say whether any token's line has the digest that was timestamped; this one reads until it finds one."""
        tokens = self.find(Query(types=frozenset({TOKEN})))
        return any(isinstance(found, TrailLine) and "digest" in found.fields for found in tokens)

    def prune(self, before: datetime, *, dry_run: bool = False) -> Sequence[str]:  # noqa: ARG002 - for those that can
        """Remove whole segments whose lines are all older than `before`, the oldest first; return their names.

        First an event `audit.pruned` is stored for each chain, with the last line that goes (`last`, NUMBER:HASH),
        `chain` and `before`, so that what stays can be verified. The last segment of a chain stays.
        """
        raise UnsupportedByTrail(f"the sink {self.name} cannot remove old lines")

    def accept(self, reason: str, *, begin_anew: bool = False) -> Sequence[str]:  # noqa: ARG002 - as above
        """Accept a trail that is not as it was left, so that tokens are issued again; return what was done, in lines.

        The trail says so itself. `begin_anew` puts what cannot be continued aside.
        """
        raise UnsupportedByTrail(f"the sink {self.name} has nothing that an operator could accept")

    def migrate(self) -> Sequence[str]:
        """Bring the store to the form that this version of the sink writes; return what was done, in lines.

        For a store whose form may be an old one, tables for example. The trail must open in spite of that.
        """
        raise UnsupportedByTrail(f"the sink {self.name} has nothing to migrate")

    def anchors(self) -> Iterator[Anchor]:
        """Yield the stored anchors by number; raises BrokenAnchorError, with its name, for what is none."""
        raise UnsupportedByTrail(f"the sink {self.name} keeps no anchors")

    def last_anchor(self) -> Anchor | None:
        """Return the stored anchor with the highest number, None when there is none."""
        return max(self.anchors(), key=lambda anchor: anchor.number, default=None)

    def store_anchor(self, anchor: Anchor) -> None:  # noqa: ARG002 - as above
        """Store an anchor beside the trail, all of it or nothing; it is on the disk when this returns."""
        raise UnsupportedByTrail(f"the sink {self.name} keeps no anchors")

    def anchoring(self) -> AbstractContextManager[bool]:
        """Return a context in which no other process anchors this trail; False in it: another one is at it now."""
        return nullcontext(True)

    def close(self) -> None:  # noqa: B027 - optional
        """Release what the trail holds; a second call does no harm."""
