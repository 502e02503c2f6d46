"""Renews batches of a state directory: one request for all timestamps, one for each hash tree (RFC 4998 5.2)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tsa_core.evidence.errors import EvidenceError
from tsa_core.evidence.hash_tree import node_hash
from tsa_core.evidence.making import Stamp, renewal_values, renewed_value, stamp_leaves, token_of
from tsa_core.evidence.objects import usable_hash
from tsa_core.evidence.state.adding import Progress, write_tree
from tsa_core.evidence.state.batch import Batch, StateError, StoredChain, StoredTimestamp
from tsa_core.evidence.state.completeness import link_digests, refuse_unlisted
from tsa_core.evidence.state.directory import StateDirectory
from tsa_core.evidence.state.due import HASH_TREE, due_of
from tsa_core.evidence.state.files import settle, write_new
from tsa_core.evidence.state.hashing import SortedLeaves
from tsa_core.evidence.state.manifest import encode_line
from tsa_core.evidence.state.rehashing import Rehashing, rehashed_groups
from tsa_core.evidence.syntax import EvidenceRecord, encode_sequence
from tsa_core.paths.algorithm_ends import PLANNED_ENDS, AlgorithmEnd
from tsa_core.protocol.hashes import HashAlgorithm

Prepare = Callable[[bytes], bytes]
"""Verifies a token and returns it with the certificates, CRLs and OCSP responses of its path inside."""


@dataclass(frozen=True, kw_only=True)
class RenewedBatch:
    """A batch after its renewal; `missing` are objects that a hash tree renewal left out, with the reason."""

    batch: Batch
    renewal: str
    missing: tuple[tuple[str, str], ...] = ()


def renew_batches(
    state: StateDirectory,
    batches: Sequence[Batch],
    stamp: Stamp,
    *,
    prepare: Prepare = bytes,
    hash_name: str | None = None,
    base: str | None = None,
    drop_missing: bool = False,
    ends: Sequence[AlgorithmEnd] = PLANNED_ENDS,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[RenewedBatch, ...]:
    """Renew batches: their timestamps, or their hash trees where `hash_name` is another hash than the last tree's.

    A hash tree renewal reads every file again, below `base` instead of the batch's own; a file that is missing or has
    changed is an error unless `drop_missing`. `prepare` sees each last token before it is covered. Raises
    EvidenceError, also where the tree's hash ends first and none is named; what was renewed before stays renewed.
    """
    new = usable_hash(hash_name) if hash_name is not None else None
    trees: list[tuple[Batch, HashAlgorithm]] = []
    timestamps: dict[HashAlgorithm, list[Batch]] = {}
    for batch in batches:
        own = batch.chains[-1].algorithm
        if new is not None and new is not own:
            trees.append((batch, new))
        elif due_of(batch, ends=ends).renewal == HASH_TREE:
            raise EvidenceError(f"{own.name} ends first in batch {batch.name}: name another hash, sha3-256 for example")
        else:
            timestamps.setdefault(own, []).append(batch)
    done: list[RenewedBatch] = []
    with state.locked():
        for batch in batches:
            if Batch.read(batch.folder) != batch:
                raise StateError(f"another process has changed batch {batch.name} in the meantime; begin again")
        for algorithm, some in timestamps.items():
            done += _renew_timestamps(some, algorithm, stamp, prepare)
        for batch, algorithm in trees:
            files = Rehashing(base or batch.base, workers or os.cpu_count() or 1, progress)
            done.append(_renew_tree(_prepared(batch, prepare), algorithm, stamp, files, drop_missing=drop_missing))
    return tuple(done)


def _prepared(batch: Batch, prepare: Prepare) -> Batch:
    """Return the batch with what its last token will need inside of it; nothing is saved yet."""
    *before, chain = batch.chains
    *covered, last = chain.timestamps
    if (info := batch.last_chain()[-1].info).hashed_message != batch.tree(len(before)).root and not covered:
        raise StateError(f"the hash tree of batch {batch.name} is not the one of its timestamp of {info.gen_time}")
    token = prepare(batch.last_token)
    if token == batch.last_token:
        return batch
    name = f"{len(batch.chains)}-{len(chain.timestamps)}-full.token"
    write_new(batch.folder / name, token)
    timestamps = (*covered, replace(last, token=name))
    return replace(batch, chains=(*before, replace(chain, timestamps=timestamps)), _trees={})


def _renew_timestamps(
    batches: Sequence[Batch], algorithm: HashAlgorithm, stamp: Stamp, prepare: Prepare
) -> Iterator[RenewedBatch]:
    prepared = [_prepared(batch, prepare) for batch in batches]
    leaves = [renewal_values(algorithm, batch.last_chain()) for batch in prepared]
    for batch, timestamp in zip(prepared, stamp_leaves(algorithm, leaves, stamp), strict=True):
        *before, chain = batch.chains
        name = f"{len(batch.chains)}-{len(chain.timestamps) + 1}.token"
        write_new(batch.folder / name, timestamp.time_stamp)
        added = StoredTimestamp(token=name, tree=timestamp.reduced_hashtree)
        renewed = replace(batch, chains=(*before, replace(chain, timestamps=(*chain.timestamps, added))), _trees={})
        renewed.save()
        yield RenewedBatch(batch=renewed, renewal="timestamp")


def _renew_tree(
    batch: Batch, algorithm: HashAlgorithm, stamp: Stamp, files: Rehashing, *, drop_missing: bool
) -> RenewedBatch:
    if not drop_missing:
        refuse_unlisted(batch)
    number = len(batch.chains) + 1
    missing: list[tuple[str, str]] = []
    leaves, count = SortedLeaves(algorithm.digest_size), 0
    objects, tree_name, token_name = f"{number}.objects", f"{number}.tree", f"{number}-1.token"
    with (batch.folder / objects).open("wb", buffering=1 << 20) as listed:
        for members in _members(batch, algorithm, files, missing):
            record = batch.record([digests for _, digests in members])
            if record is None or len(record.chains) != len(batch.chains):
                missing += [(name, "the batch's hash trees do not have it") for name, _ in members]
                continue
            leaves.add(_renewed_leaf(algorithm, record, [digests for _, digests in members]))
            for name, digests in members:
                listed.write(encode_line(name, digests[algorithm.name]))
            count += len(members)
        settle(listed)
    if missing and not drop_missing:
        shown = "; ".join(f"{name}: {reason}" for name, reason in missing[:3])
        raise EvidenceError(
            f"{len(missing)} of {batch.objects} objects of batch {batch.name} cannot be renewed ({shown}); "
            "bring them back, name the folder where they are, or leave them out on purpose"
        )
    if not count:
        raise EvidenceError(f"no object of batch {batch.name} is left")
    if (own := link_digests(batch, algorithm.name)) is not None and (record := batch.record([own])) is not None:
        leaves.add(_renewed_leaf(algorithm, record, [own]))
    tree = write_tree(batch.folder / tree_name, algorithm, leaves)
    write_new(batch.folder / token_name, token_of(stamp(algorithm, tree.root), algorithm, tree.root))
    chain = StoredChain(
        hash_name=algorithm.name,
        objects=objects,
        tree=tree_name,
        leaves=tree.count,
        timestamps=(StoredTimestamp(token=token_name),),
    )
    renewed = replace(batch, chains=(*batch.chains, chain), _trees={})
    renewed.save()
    return RenewedBatch(batch=renewed, renewal=HASH_TREE, missing=tuple(missing))


def _renewed_leaf(algorithm: HashAlgorithm, record: EvidenceRecord, members: Sequence[Mapping[str, bytes]]) -> bytes:
    older = algorithm.digest(encode_sequence(record.chains))
    return node_hash(algorithm, {renewed_value(algorithm, member[algorithm.name], older) for member in members})


_Member = tuple[str, dict[str, bytes]]
"""An object's name, and its digests by all hashes of the batch and by the new one."""


def _members(
    batch: Batch, new: HashAlgorithm, files: Rehashing, missing: list[tuple[str, str]]
) -> Iterator[Sequence[_Member]]:
    """Yield the objects, each alone or with its data group, hashed anew; a group with a missing member is missing."""
    algorithms = {chain.hash_name: chain.algorithm for chain in batch.chains} | {new.name: new}
    for members in rehashed_groups(batch, tuple(algorithms.values()), files):
        problems = [(name, problem) for name, _, problem in members if problem]
        if problems:
            whole = "another file of its group is missing or changed"
            bad = dict(problems)
            missing += [(name, bad.get(name, whole)) for name, _, _ in members]
            continue
        yield [(name, digests) for name, digests, _ in members]
