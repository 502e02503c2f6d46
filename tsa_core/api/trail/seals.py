"""Holds the seals of a trail against its lines: nothing else binds the chains of its writers together.

A seal is a line `{"type":"seal",...}` of a chain of its own. `heads` says of each chain with new lines the first and
the last of them, and the last one's hash: NAME, FIRST, LAST, HASH. `root` is the Merkle root (RFC 6962 2.1) over the
hashes of all these lines, in this order. An anchor covers the seals, so that it covers the lines through them alone.

`check_seals` does it for an exported trail, and `SealCheck` for a sink that has its lines elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol

from tsa_core.api.trail.chain import BrokenChainError, parse_link, read_line
from tsa_core.api.trail.search import time_of
from tsa_core.api.trail.segment import PRUNED, Segment
from tsa_core.api.transparency import Frontier, leaf_hash

_SEAL: Final = re.compile(rb'\{"seq":[0-9]+,"type":"seal",')
_LATE: Final = timedelta(minutes=10)
"""How much older than the seal before theirs lines may be: clocks of machines differ."""


class _Head(NamedTuple):
    """What a seal says of a chain."""

    name: str
    first: int
    last: int
    digest: str


class SealedLine(NamedTuple):
    """A line of a chain as seals see it; `digest` is the line's hash, `at` None when it says no time."""

    seq: int
    digest: bytes
    at: datetime | None


class SealedChain(Protocol):
    """The lines of one writer, wherever they are stored."""

    @property
    def gone(self) -> int:
        """The number of the last line that is not there any more because it was pruned; 0 for none."""

    def lines(self, first: int, last: int | None) -> Generator[SealedLine, None, None]:
        """Yield the lines from `first` to `last`, or to the end. Each call goes on behind the one before."""


class _LinesOfFiles:
    """The lines of one writer in files, read once from the beginning to the end, as far as each seal goes."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.gone = segments[0].start.seq
        self._lines: Iterator[bytes] = chain.from_iterable(segment.lines() for segment in segments)
        self._next: SealedLine | None = None
        self._begun = False

    def lines(self, _first: int, last: int | None) -> Generator[SealedLine, None, None]:
        """Yield what follows, up to line `last`, or all of it. A file is let go of once its last line was read."""
        if not self._begun:
            self._begun = True
            self._advance()
        while self._next is not None and (last is None or self._next.seq <= last):
            yield self._next
            self._advance()

    def _advance(self) -> None:
        line = next(self._lines, None)
        try:
            self._next = None if line is None else _sealed_line(line)
        except BrokenChainError:
            self._next = None  # told by whoever checks the lines; what is behind it is missing for the seals
            self._lines = iter(())


def check_seals(segments: Sequence[Segment]) -> Iterator[str]:
    """Yield what is wrong, in words; nothing for a trail without seals. The chains themselves are checked elsewhere."""
    sealing = [segment for segment in segments if _is_of_seals(segment.lines())]
    if not sealing:
        return
    others: dict[str, list[Segment]] = {}
    for segment in segments:
        if segment not in sealing:
            others.setdefault(segment.chain, []).append(segment)
    check = SealCheck({name: _LinesOfFiles(each) for name, each in others.items()}, _pruned(chain(*others.values())))
    for line in chain.from_iterable(segment.lines() for segment in sealing):
        try:
            fields, link = read_line(line)
        except BrokenChainError:
            return
        yield from check.seal(fields, f"seal {link.seq}")
    yield from check.rest()


def _is_of_seals(lines: Iterable[bytes]) -> bool:
    """Say whether the first line is a seal, whatever somebody calls the chain."""
    return _SEAL.match(next(iter(lines), b"")) is not None


def _pruned(segments: Iterable[Segment]) -> dict[str, int]:
    """Return the number of the last line of each chain that was removed on purpose, as the trail says."""
    found: dict[str, int] = {}
    for segment in segments:
        for line in segment.lines():
            if PRUNED.encode("ascii") not in line:
                continue
            try:
                fields, _ = read_line(line)
            except BrokenChainError:
                break
            details = fields.get("details")
            if fields.get("kind") != PRUNED or not isinstance(details, dict):
                continue
            if (link := parse_link(str(details.get("last")))) is not None:
                name = str(details.get("chain", ""))
                found[name] = max(found.get(name, 0), link.seq)
    return found


class SealCheck:
    """Walks the seals in their order. `gone` is of chains that are not there, and `noun` what lines are called.

    A seal over lines some of which were pruned is held against the lines that are there by its heads alone.
    """

    def __init__(self, chains: Mapping[str, SealedChain], gone: Mapping[str, int], *, noun: str = "line") -> None:
        self._chains = chains
        self._gone = gone
        self._noun = noun
        self.sealed: dict[str, int] = {}
        """The last line of each chain that a seal covers."""
        self._before: datetime | None = None

    def seal(self, fields: Any, what: str) -> Iterator[str]:
        """Check one seal, of which `fields` are said; yields what is wrong, in words."""
        try:
            heads = [_Head(str(name), int(one), int(last), str(end)) for name, one, last, end in fields["heads"]]
            root = str(fields["root"])
        except (ValueError, TypeError, KeyError):
            yield f"{what} is none"
            return
        noun, tree, whole = self._noun, Frontier(), True
        for head in heads:
            sealed = self.sealed.get(head.name, head.first - 1)
            if head.first != sealed + 1:
                yield f"{what} begins with {noun} {head.first} of {head.name}, and the seal before ended with {sealed}"
            self.sealed[head.name] = head.last
            found = self._chains.get(head.name)
            gone = self._gone.get(head.name, 0) if found is None else found.gone
            whole = whole and head.first > gone
            if head.last <= gone:
                continue
            if found is None:
                whole = False
                yield f"{what} covers {noun}s of {head.name}, which are not there"
                continue
            for fault in self._lines(what, head, found, tree):
                whole = False
                yield fault
        if whole and tree.root().hex() != root:
            yield f"{what} has another root than the {noun}s that it covers: some were changed, removed or put in"
        self._before = time_of(fields)

    def _lines(self, what: str, head: _Head, found: SealedChain, tree: Frontier) -> Iterator[str]:
        noun, last, late = self._noun, SealedLine(0, b"", None), False
        for last in found.lines(max(head.first, found.gone + 1), head.last):
            tree.append(leaf_hash(last.digest))
            if self._is_late(last) and not late:
                late = True
                yield f"{noun} {last.seq} of {head.name} says {_said(last)}, and {what} is the first over it"
        if (last.seq, last.digest.hex()) != (head.last, head.digest):
            yield f"{what} has {head.last}:{head.digest} as the last {noun} of {head.name}, and that is not there"

    def rest(self) -> Iterator[str]:
        """Check the lines behind the last seal."""
        for name, found in self._chains.items():
            with closing(found.lines(self.sealed.get(name, 0) + 1, None)) as lines:
                late = next((each for each in lines if self._is_late(each)), None)
            if late is not None:
                yield f"{self._noun} {late.seq} of {name} says {_said(late)}, and no seal of that time covers it"

    def _is_late(self, line: SealedLine) -> bool:
        return self._before is not None and line.at is not None and line.at < self._before - _LATE


def _sealed_line(line: bytes) -> SealedLine:
    """Return what stands in a line of a file; raises BrokenChainError. A hash that is none is a fault of its chain."""
    fields, link = read_line(line)
    try:
        digest = bytes.fromhex(link.digest)
    except ValueError:
        digest = b""
    return SealedLine(link.seq, digest, time_of(fields))


def _said(line: SealedLine) -> str:
    return line.at.isoformat() if line.at is not None else "no time"
