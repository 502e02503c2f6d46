"""Holds the seals of an exported trail against its lines: nothing else binds the chains of its writers together.

A seal is a line `{"type":"seal",...}` of a chain of its own. `heads` says of each chain with new lines the first and
the last of them, and the last one's hash: NAME, FIRST, LAST, HASH. `root` is the Merkle root (RFC 6962 2.1) over the
hashes of all these lines, in this order. An anchor covers the seals, so that it covers the lines through them alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final, NamedTuple

from tsa_core.api.trail.chain import BrokenChainError, Link, parse_link, read_line
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


class _Chain:
    """The lines of one writer, read once from the beginning to the end, as far as each seal goes."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.start = segments[0].start.seq
        self._lines: Iterator[bytes] = chain.from_iterable(segment.lines() for segment in segments)
        self._next: tuple[dict[str, Any], Link] | None = None
        self._begun = False

    def up_to(self, last: int | None) -> Iterator[tuple[dict[str, Any], Link]]:
        """Yield what follows, up to line `last`, or all of it. A file is let go of once its last line was read."""
        if not self._begun:
            self._begun = True
            self._advance()
        while self._next is not None and (last is None or self._next[1].seq <= last):
            yield self._next
            self._advance()

    def _advance(self) -> None:
        line = next(self._lines, None)
        try:
            self._next = None if line is None else read_line(line)
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
    check = _SealCheck({name: _Chain(each) for name, each in others.items()}, _pruned(chain(*others.values())))
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


class _SealCheck:
    """Walks the seals in their order."""

    def __init__(self, chains: Mapping[str, _Chain], pruned: Mapping[str, int]) -> None:
        self._chains = chains
        self._pruned = pruned
        self._sealed: dict[str, int] = {}
        self._before: datetime | None = None

    def seal(self, fields: Mapping[str, Any], what: str) -> Iterator[str]:
        """Check one seal."""
        try:
            heads = [_Head(str(name), int(one), int(last), str(end)) for name, one, last, end in fields["heads"]]
            root = str(fields["root"])
        except (ValueError, TypeError, KeyError):
            yield f"{what} is none"
            return
        tree, whole = Frontier(), True
        for head in heads:
            sealed = self._sealed.get(head.name, head.first - 1)
            if head.first != sealed + 1:
                yield f"{what} begins with line {head.first} of {head.name}, and the seal before ended with {sealed}"
            self._sealed[head.name] = head.last
            found = self._chains.get(head.name)
            gone = self._pruned.get(head.name, 0) if found is None else found.start
            whole = whole and head.first > gone
            if head.last <= gone:
                continue
            if found is None:
                whole = False
                yield f"{what} covers lines of {head.name}, which are not there"
                continue
            for fault in self._lines(what, head, found, tree):
                whole = False
                yield fault
        if whole and tree.root().hex() != root:
            yield f"{what} has another root than the lines that it covers: some were changed, removed or put in"
        self._before = time_of(fields)

    def _lines(self, what: str, head: _Head, lines: _Chain, tree: Frontier) -> Iterator[str]:
        last, late = Link(), False
        for fields, link in lines.up_to(head.last):
            last = link
            tree.append(leaf_hash(_octets(link)))
            if self._is_late(fields) and not late:
                late = True
                yield f"line {link.seq} of {head.name} says {_said(fields)}, and {what} is the first over it"
        if last != (head.last, head.digest):
            yield f"{what} has {head.last}:{head.digest} as the last line of {head.name}, and that is not there"

    def rest(self) -> Iterator[str]:
        """Check the lines behind the last seal."""
        for name, lines in self._chains.items():
            late = next((each for each in lines.up_to(None) if self._is_late(each[0])), None)
            if late is not None:
                fields, link = late
                yield f"line {link.seq} of {name} says {_said(fields)}, and no seal of that time covers it"

    def _is_late(self, fields: Mapping[str, Any]) -> bool:
        moment = time_of(fields)
        return self._before is not None and moment is not None and moment < self._before - _LATE


def _octets(link: Link) -> bytes:
    """Return a line's hash; of what stands there instead, which its chain's check tells, something else."""
    try:
        return bytes.fromhex(link.digest)
    except ValueError:
        return b""


def _said(fields: Mapping[str, Any]) -> str:
    moment = time_of(fields)
    return moment.isoformat() if moment is not None else "no time"
