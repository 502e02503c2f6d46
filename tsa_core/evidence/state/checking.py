"""Verifies files by a state directory: all of a batch, or some by their content, whatever they are called now."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tsa_core.evidence.objects import DataGroup
from tsa_core.evidence.state.adding import Progress
from tsa_core.evidence.state.batch import Batch, StateError
from tsa_core.evidence.state.completeness import unlisted, unlisted_leaves
from tsa_core.evidence.state.hashing import hash_file
from tsa_core.evidence.state.manifest import Entry
from tsa_core.evidence.state.objects import groups
from tsa_core.evidence.state.rehashing import Rehashing, rehashed_groups
from tsa_core.evidence.syntax import EvidenceRecord
from tsa_core.evidence.verdict import VerifiedRecord
from tsa_core.evidence.verifier import EvidenceVerifier
from tsa_core.protocol.hashes import hash_by_name
from tsa_core.verify.errors import VerificationError


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """One file: the verdict, or in one line why there is none. `batch` is where its evidence is."""

    path: str
    batch: str | None = None
    verdict: VerifiedRecord | None = None
    problem: str = ""
    rule: str | None = None


def check_batch(
    batch: Batch,
    verifier: EvidenceVerifier,
    *,
    time: datetime | None = None,
    base: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[CheckedFile]:
    """Yield every file of a batch, read again and verified; one verdict serves the members of a data group.

    A list from which objects were taken out is a problem, too, with the path of the list.
    """
    algorithms = [hash_by_name(name) for name in batch.hash_names]
    source = Rehashing(base or batch.base, workers or os.cpu_count() or 1, progress)
    for members in rehashed_groups(batch, algorithms, source):
        broken = [problem for _, _, problem in members if problem]
        if broken:
            whole = "another file of its group is missing or has changed"
            yield from (
                CheckedFile(path=name, batch=batch.name, problem=problem or whole) for name, _, problem in members
            )
            continue
        digests = [own for _, own, _ in members]
        result = _verified(batch, batch.record(digests), _item(digests), verifier, time)
        yield from (_with_path(result, name) for name, _, _ in members)
    if count := unlisted_leaves(batch):
        path = str(batch.folder / batch.chains[0].objects)
        yield CheckedFile(path=path, batch=batch.name, problem=unlisted(batch, count))


def check_files(
    batches: Sequence[Batch], paths: Iterable[str], verifier: EvidenceVerifier, *, time: datetime | None = None
) -> Iterator[CheckedFile]:
    """Yield each file, verified by the oldest batch that has its content and proves it."""
    names = dict.fromkeys(name for batch in batches for name in batch.hash_names)
    algorithms = [hash_by_name(name) for name in names]
    for path in paths:
        hashed = hash_file(path, algorithms)
        if hashed.error is not None:
            yield CheckedFile(path=path, problem=f"it cannot be read: {hashed.error.strerror}")
            continue
        digests = dict(zip(names, hashed.digests, strict=True))
        result = CheckedFile(path=path, problem="no batch has a file with this content")
        for batch in batches:
            record = record_of(batch, digests)
            if record is None:
                continue
            result = _with_path(_verified(batch, record, digests, verifier, time), path)
            if result.verdict is not None:
                break
        yield result


def record_of(batch: Batch, digests: Mapping[str, bytes]) -> EvidenceRecord | None:
    """Return the record of the object with these digests; None when the batch does not have it.

    Of a data group, the other members are what the batch's lists say.
    """
    if batch.group_by is None:
        return batch.record([digests])
    wanted = digests[batch.chains[0].hash_name]
    for members in groups(batch.entries(0), grouped=True):
        if any(entry.digest == wanted for entry in members):
            return batch.record(_stored_digests(batch, members))
    return None


def _stored_digests(batch: Batch, members: Sequence[Entry]) -> list[dict[str, bytes]]:
    """Return the digests of some objects by all lists of the batch."""
    found: dict[str, dict[str, bytes]] = {entry.name: {} for entry in members}
    for number, chain in enumerate(batch.chains):
        for name, digest in batch.entries(number):
            if name in found:
                found[name][chain.hash_name] = digest
    # A group that a renewal left out has no digest by the new hash, and its record ends before it.
    return [{name: digests.get(name, b"") for name in batch.hash_names} for digests in found.values()]


def _item(digests: Sequence[Mapping[str, bytes]]) -> Mapping[str, bytes] | DataGroup:
    return digests[0] if len(digests) == 1 else DataGroup(tuple(digests))


def _verified(
    batch: Batch,
    record: EvidenceRecord | None,
    item: Mapping[str, bytes] | DataGroup,
    verifier: EvidenceVerifier,
    time: datetime | None,
) -> CheckedFile:
    if record is None:
        raise StateError(f"the hash tree of batch {batch.name} does not have an object of its list; restore a backup")
    try:
        return CheckedFile(path="", batch=batch.name, verdict=verifier.verify(record, item, time=time))
    except VerificationError as error:
        return CheckedFile(path="", batch=batch.name, problem=str(error), rule=error.rule)


def _with_path(result: CheckedFile, path: str) -> CheckedFile:
    return CheckedFile(path=path, batch=result.batch, verdict=result.verdict, problem=result.problem, rule=result.rule)
