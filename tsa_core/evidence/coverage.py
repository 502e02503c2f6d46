"""Whether each timestamp of a record covers what it must: the objects, the timestamp before it, the chains before it.

No signature is looked at here: that is `verifier`, which is told the root that each token must be about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from tsa_core.evidence.errors import GroupMismatch, LinkBroken, MalformedRecord, ObjectNotCovered, RecordRefused
from tsa_core.evidence.hash_tree import root_of
from tsa_core.evidence.making import renewed_value
from tsa_core.evidence.place import Place
from tsa_core.evidence.syntax import ArchiveTimeStamp, ArchiveTimeStampChain, EvidenceRecord, encode_sequence
from tsa_core.paths.notes import Note
from tsa_core.protocol.hashes import HashAlgorithm


class Covered(NamedTuple):
    """A token, and the root that it must be about if the record is in order."""

    place: Place
    token: bytes
    algorithm: HashAlgorithm
    root: bytes


class Notes(NamedTuple):
    """What was accepted although RFC 4998 can be read in another way, and what nobody can say."""

    accepted: tuple[Note, ...]
    unchecked: tuple[Note, ...]


def check_coverage(
    record: EvidenceRecord,
    algorithms: Sequence[HashAlgorithm],
    members: Sequence[Mapping[str, bytes]],
    *,
    whole: bool,
) -> tuple[list[Covered], Notes]:
    """Return the root for each token, oldest first; raises a RecordRefused for what is not covered.

    `algorithms` are those of the chains, `members` the digests of the documents. `whole` says that they are all
    documents of a data group: the record must then hold no others.
    """
    covered: list[Covered] = []
    accepted: dict[str, Note] = {}
    others = 0
    for number, (chain, algorithm) in enumerate(zip(record.chains, algorithms, strict=True), 1):
        _check_lengths(chain, algorithm, number)
        place = Place(chain=number, timestamp=1)
        own = [member[algorithm.name] for member in members]
        readings = [own]
        if number > 1:
            older = algorithm.digest(encode_sequence(record.chains[: number - 1]))
            readings = [[renewed_value(algorithm, digest, older) for digest in own], _sorted(algorithm, own, older)]
        root, reading = _first(chain[0], algorithm, readings, place, whole=whole)
        if reading:
            accepted["renewal-sorted"] = Note(
                code="renewal-sorted",
                text="a hash tree renewal sorts the hash of the object and that of the older chains (erratum 7411)",
            )
        others = max(others, len((chain[0].reduced_hashtree or ((b"",),))[0]) - len(set(own)))
        covered.append(_covered(chain[0], algorithm, root, place, accepted))
        for position, (before, timestamp) in enumerate(pairwise(chain), 2):
            place = Place(chain=number, timestamp=position)
            value = algorithm.digest(before.time_stamp)
            covered.append(
                _covered(timestamp, algorithm, _renewal_root(timestamp, algorithm, value, place), place, accepted)
            )
    unchecked = []
    if others:
        unchecked.append(
            Note(
                code="other-members", text=f"{others} other hash values beside the object's, of its data group or tree"
            )
        )
    return covered, Notes(tuple(accepted.values()), tuple(unchecked))


def _check_lengths(chain: ArchiveTimeStampChain, algorithm: HashAlgorithm, number: int) -> None:
    """Raise MalformedRecord for a hash value of another length: lists are concatenated, so lengths must be fixed."""
    for position, timestamp in enumerate(chain, 1):
        for values in timestamp.reduced_hashtree or ():
            if any(len(value) != algorithm.digest_size for value in values):
                place = Place(chain=number, timestamp=position)
                raise MalformedRecord(f"the hash tree of {place} has a value that is no {algorithm.name} hash")


def _first(
    timestamp: ArchiveTimeStamp,
    algorithm: HashAlgorithm,
    readings: Sequence[Sequence[bytes]],
    place: Place,
    *,
    whole: bool,
) -> tuple[bytes, int]:
    """Return the root of a chain's first timestamp, and which reading of RFC 4998 leads to it."""
    failure: RecordRefused | None = None
    for number, values in enumerate(readings):
        try:
            return _object_root(timestamp, algorithm, values, place, whole=whole), number
        except (ObjectNotCovered, LinkBroken, GroupMismatch) as error:
            failure = failure or error
    assert failure is not None  # noqa: S101 - there is at least one reading
    raise failure


def _object_root(
    timestamp: ArchiveTimeStamp, algorithm: HashAlgorithm, values: Sequence[bytes], place: Place, *, whole: bool
) -> bytes:
    wanted = set(values)
    tree = timestamp.reduced_hashtree
    missing = ObjectNotCovered if place.chain == 1 else LinkBroken
    beside = "" if place.chain == 1 else " with what the older chains hold"
    if tree is None:
        if len(wanted) != 1:
            kind = GroupMismatch if place.chain == 1 else LinkBroken
            raise kind(f"{place} is over one hash and not over a data group of {len(wanted)} documents")
        (root,) = wanted
        if root != timestamp.info.hashed_message:
            raise missing(f"{place} is not over this object{beside}: the hashes differ")
        return root
    listed = set(tree[0])
    if not wanted <= listed:
        if len(wanted) == 1:
            raise missing(
                f"{place} does not cover this object{beside}: its hash is not in the first list of the hash tree"
            )
        raise missing(f"{place} does not cover {len(wanted - listed)} of {len(wanted)} documents{beside}")
    if whole and wanted != listed:
        raise GroupMismatch(f"the data group in {place} has {len(listed)} documents, and {len(wanted)} were given")
    return root_of(algorithm, tree)


def _renewal_root(timestamp: ArchiveTimeStamp, algorithm: HashAlgorithm, value: bytes, place: Place) -> bytes:
    tree = timestamp.reduced_hashtree
    if tree is None:
        if value != timestamp.info.hashed_message:
            raise LinkBroken(f"{place} is not over the timestamp before it: the hashes differ")
        return value
    if value not in tree[0]:
        raise LinkBroken(f"{place} does not cover the timestamp before it: its hash is not in the first list")
    return root_of(algorithm, tree)


def _covered(
    timestamp: ArchiveTimeStamp, algorithm: HashAlgorithm, root: bytes, place: Place, accepted: dict[str, Note]
) -> Covered:
    """Return the token with its root, which must be what the token is about."""
    info = timestamp.info
    if info.hash_oid != algorithm.oid:
        raise LinkBroken(f"{place} is about a hash of another algorithm than its hash tree's, {algorithm.name}")
    if root != info.hashed_message:
        root = _hashed_single(timestamp, algorithm, place)
        accepted["single-hashed"] = Note(
            code="single-hashed",
            text="a list with one hash value was hashed again, which RFC 4998 4.3 can be read to say",
        )
    return Covered(place, timestamp.time_stamp, algorithm, root)


def _hashed_single(timestamp: ArchiveTimeStamp, algorithm: HashAlgorithm, place: Place) -> bytes:
    """Return the root of a tree whose first list has one value, which is hashed nonetheless; raises LinkBroken."""
    tree = timestamp.reduced_hashtree
    if tree is not None and len(tree[0]) == 1:
        root = root_of(algorithm, ((algorithm.digest(tree[0][0]),), *tree[1:]))
        if root == timestamp.info.hashed_message:
            return root
    raise LinkBroken(f"the hash tree of {place} leads to another root than the one that was timestamped")


def _sorted(algorithm: HashAlgorithm, own: Sequence[bytes], older: bytes) -> list[bytes]:
    return [algorithm.digest(b"".join(sorted((digest, older)))) for digest in own]
