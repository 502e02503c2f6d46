"""Whether a state directory has all that its timestamps cover: every object of a batch, and every batch before another.

Each batch's hash tree has one leaf more than its objects: a text that names the batch before it by its root. So a batch
cannot go without a later one that says so. Of the last ones, nothing in a directory can tell that they were there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from tsa_core.evidence.hash_tree import node_hash
from tsa_core.evidence.state.batch import Batch, StateError
from tsa_core.evidence.state.objects import groups
from tsa_core.evidence.verifier import EvidenceVerifier
from tsa_core.protocol.hashes import hash_by_name
from tsa_core.verify.errors import VerificationError

_LINK: Final = re.compile(rb"tsa-core evidence batch (\d{1,9})\nprevious (none|[a-z0-9-]{1,20}:[0-9a-f]{32,256})\n")


def link(number: int, previous: Batch | None) -> bytes:
    """Return the text that says which batch this is, and which one is before it."""
    return f"tsa-core evidence batch {number}\nprevious {_name_of(previous)}\n".encode()


def _name_of(batch: Batch | None) -> str:
    return f"{batch.chains[0].hash_name}:{batch.tree(0).root.hex()}" if batch is not None else "none"


def link_digests(batch: Batch, *more: str) -> dict[str, bytes] | None:
    """Return the digests of a batch's link by all hashes of the batch and by these; None when it has no link."""
    text = batch.link_text()
    return {name: hash_by_name(name).digest(text) for name in (*batch.hash_names, *more)} if text is not None else None


def unlisted_leaves(batch: Batch) -> int:
    """Return how many objects or data groups the batch's first timestamp covers and its list does not have."""
    chain, tree = batch.chains[0], batch.tree(0)
    seen = bytearray(tree.count)
    leaves = (
        node_hash(chain.algorithm, {entry.digest for entry in members})
        for members in groups(batch.entries(0), grouped=batch.group_by is not None)
    )
    for leaf in leaves:
        if (number := tree.find(leaf)) is not None:
            seen[number] = 1
    if (own := link_digests(batch)) is not None and (number := tree.find(own[chain.hash_name])) is not None:
        seen[number] = 1
    return seen.count(0)


def check_links(
    batches: Sequence[Batch], verifier: EvidenceVerifier, *, time: datetime | None = None
) -> Iterator[tuple[Batch, str]]:
    """Yield what is wrong with the order of a directory's batches, all of which are given, oldest first."""
    before: Batch | None = None
    for batch in batches:
        if (problem := _link_problem(batch, before, verifier, time)) is not None:
            yield batch, problem
        before = batch


def _link_problem(batch: Batch, before: Batch | None, verifier: EvidenceVerifier, time: datetime | None) -> str | None:
    text, digests = batch.link_text(), link_digests(batch)
    if text is None or digests is None:
        linked = before is not None and before.link is not None
        return "it has no link to the batch before it, which has one; restore it from a backup" if linked else None
    if (found := _LINK.fullmatch(text)) is None:
        return f"its link {batch.link} cannot be read; restore it from a backup"
    record = batch.record([digests])
    if record is None:
        return f"its timestamp does not cover its link {batch.link}; restore it from a backup"
    try:
        verifier.verify(record, digests, time=time)
    except VerificationError as error:
        return f"its link {batch.link} is not verified: {error}"
    if found[2].decode() != _name_of(before):
        shown = "there is none" if before is None else f"{before.name} is another one"
        return f"the batch before it was removed or exchanged ({shown}); restore it from a backup"
    if found[1].decode() != (batch.name.lstrip("0") or "0"):
        return f"it is batch {found[1].decode()}: its folder was renamed"
    return None


def refuse_unlisted(batch: Batch) -> None:
    """Raise StateError when the list of a batch lacks objects that its timestamp covers."""
    if count := unlisted_leaves(batch):
        raise StateError(unlisted(batch, count))


def unlisted(batch: Batch, count: int) -> str:
    """Return what is wrong with a list that lacks so many objects or data groups."""
    return f"its list {batch.chains[0].objects} lacks {count:,} that its timestamp covers; restore it from a backup"
