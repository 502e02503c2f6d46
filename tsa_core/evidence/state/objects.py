"""The objects of a batch, each alone or with its data group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from tsa_core.evidence.errors import EvidenceError
from tsa_core.evidence.state.manifest import Entry, group_of


def groups(entries: Iterable[Entry], *, grouped: bool) -> Iterator[Sequence[Entry]]:
    """Yield the objects, each alone or with its data group, whose members follow each other."""
    if not grouped:
        for entry in entries:
            yield (entry,)
        return
    seen: set[str] = set()
    for name, members in groupby(entries, lambda entry: group_of(entry.name)):
        if name in seen:
            raise EvidenceError(f"the files of {name or '.'} do not follow each other; give the folder itself, once")
        seen.add(name)
        yield tuple(members)
