"""Makes records and renews them: one request to an authority for any number of records (RFC 4998 4.2 and 5.2).

from tsa_core.client import TimestampClient
from tsa_core.evidence import make_records, stamper
with TimestampClient(url) as client:
    records = make_records([b"one", Path("two")], stamper(client))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from tsa_core.evidence.errors import EvidenceError
from tsa_core.evidence.hash_tree import HashTree, node_hash
from tsa_core.evidence.objects import DataGroup, DataObject, digests, members_of, usable_hash
from tsa_core.evidence.syntax import ArchiveTimeStamp, ArchiveTimeStampChain, EvidenceRecord, encode_sequence
from tsa_core.protocol import ber, token_material
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import HashAlgorithm
from tsa_core.protocol.reply import is_token, read_reply, read_token
from tsa_core.protocol.tstinfo_reader import read_tst_info

if TYPE_CHECKING:
    from tsa_core.client import TimestampClient

Stamp = Callable[[HashAlgorithm, bytes], bytes]
"""Asks an authority about a digest and returns its reply or token, DER or BER."""


def stamper(client: TimestampClient, *, policy: str | None = None) -> Stamp:
    """Return what asks this client's authority; errors are those of TimestampClient.stamp."""

    def stamp(algorithm: HashAlgorithm, digest: bytes) -> bytes:
        return client.stamp(digest=digest, hash_name=algorithm.name, policy=policy).reply

    return stamp


def make_records(
    items: Sequence[DataObject | DataGroup], stamp: Stamp, *, hash_name: str = "sha256"
) -> tuple[EvidenceRecord, ...]:
    """Return a record for each object or group, in their order; all share one timestamp."""
    algorithm = usable_hash(hash_name)
    leaves = [_values(item, lambda source: digests(source, (algorithm,))[algorithm.name]) for item in items]
    return tuple(map(EvidenceRecord.initial, stamp_leaves(algorithm, leaves, stamp)))


def record_of_token(token: bytes) -> EvidenceRecord:
    """Return a record whose first timestamp is one that exists: a TimeStampToken or a TimeStampResp."""
    return EvidenceRecord.initial(ArchiveTimeStamp(time_stamp=token_of(token)))


def renew_timestamps(records: Sequence[EvidenceRecord], stamp: Stamp) -> tuple[EvidenceRecord, ...]:
    """Return the records, each with a new timestamp over its last one (timestamp renewal, RFC 4998 5.2).

    The new timestamp uses the chain's hash algorithm: while that is strong, and the last timestamp still holds, this
    is enough and needs no object. There is one request for each hash algorithm among the last chains.
    """
    by_algorithm: dict[HashAlgorithm, list[int]] = {}
    for number, record in enumerate(records):
        by_algorithm.setdefault(record.chains[-1][0].hash_algorithm, []).append(number)
    renewed = list(records)
    for algorithm, numbers in by_algorithm.items():
        if algorithm.weak:
            raise EvidenceError(f"{algorithm.name} is weak by now: the hash tree must be renewed, with the objects")
        leaves = [renewal_values(algorithm, records[number].chains[-1]) for number in numbers]
        for number, timestamp in zip(numbers, stamp_leaves(algorithm, leaves, stamp), strict=True):
            renewed[number] = records[number].with_timestamp(timestamp)
    return tuple(renewed)


def renewal_values(algorithm: HashAlgorithm, chain: ArchiveTimeStampChain) -> tuple[bytes, ...]:
    """Return what a timestamp renewal is over: the hashes of all timestamps of the chain, as a data group.

    RFC 4998 5.3 asks for the last one; BouncyCastle for all of them.
    """
    return tuple(sorted(algorithm.digest(timestamp.time_stamp) for timestamp in chain))


def renew_hash_trees(
    records: Sequence[EvidenceRecord],
    items: Sequence[DataObject | DataGroup],
    stamp: Stamp,
    *,
    hash_name: str = "sha256",
) -> tuple[EvidenceRecord, ...]:
    """Return the records, each with a new chain over its objects and all that was there (hash tree renewal, 5.2).

    `items` are the objects or groups of the records, in the same order; they are read again.
    """
    if len(records) != len(items):
        raise ValueError("there must be one object or group for each record")
    algorithm = usable_hash(hash_name)
    leaves = [_values(item, _renewing(algorithm, record)) for record, item in zip(records, items, strict=True)]
    timestamps = stamp_leaves(algorithm, leaves, stamp)
    return tuple(record.with_chain(timestamp) for record, timestamp in zip(records, timestamps, strict=True))


def _renewing(algorithm: HashAlgorithm, record: EvidenceRecord) -> Callable[[DataObject], bytes]:
    sequence = algorithm.digest(encode_sequence(record.chains))

    def value(source: DataObject) -> bytes:
        return renewed_value(algorithm, digests(source, (algorithm,))[algorithm.name], sequence)

    return value


def renewed_value(algorithm: HashAlgorithm, digest: bytes, sequence: bytes) -> bytes:
    """Return H(h(i) + ha(i)) of RFC 4998 5.2: the object's digest, then that of the older chains, unsorted.

    Figure 4 of the RFC and erratum 7411 sort the two; its text, BouncyCastle and DSS do not.
    """
    return algorithm.digest(digest + sequence)


def _values(item: DataObject | DataGroup, value: Callable[[DataObject], bytes]) -> tuple[bytes, ...]:
    return tuple(sorted({value(member) for member in members_of(item)}))


def stamp_leaves(
    algorithm: HashAlgorithm, leaves: Sequence[tuple[bytes, ...]], stamp: Stamp
) -> Iterable[ArchiveTimeStamp]:
    """Return a timestamp for each leaf, a value or the sorted values of a group; all have the same token."""
    if not leaves:
        raise EvidenceError("there is nothing to make evidence for")
    values = [node_hash(algorithm, group) for group in leaves]
    tree = HashTree.over(algorithm, values)
    token = token_of(stamp(algorithm, tree.root), algorithm, tree.root)
    numbers = [tree.find(value) for value in values]
    return [
        ArchiveTimeStamp(
            time_stamp=token,
            digest_algorithm=algorithm.identifier,
            reduced_hashtree=tree.reduced(number, group if len(group) > 1 else None),
        )
        for number, group in zip(numbers, leaves, strict=True)
        if number is not None
    ]


def token_of(reply: bytes, algorithm: HashAlgorithm | None = None, digest: bytes | None = None) -> bytes:
    """Return the token of a reply, or the token itself, with definite lengths; it must be about `digest` if given.

    Raises EvidenceError. Nobody's signature is checked.
    """
    try:
        if not is_token(reply):
            status, _ = read_reply(reply)
            if not status.granted:
                raise EvidenceError(f"the authority did not grant the timestamp: {status.name}")
        # BER may hide an indefinite length deep inside, where a record must have none.
        token = ber.definite(token_material.token_of(reply))
        info = read_tst_info(read_token(token).content)
    except EncodingError as error:
        raise EvidenceError(f"the authority's answer is no timestamp: {error}") from None
    if algorithm is not None and (info.hash_oid, info.hashed_message) != (algorithm.oid, digest):
        raise EvidenceError("the authority's timestamp is about something else than it was asked for")
    return token
