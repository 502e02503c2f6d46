"""EvidenceRecord and what it is made of: bytes in, bytes out (RFC 4998 3 to 5 and appendix B).

    EvidenceRecord ::= SEQUENCE {
        version INTEGER { v1(1) }, digestAlgorithms SEQUENCE OF AlgorithmIdentifier,
        cryptoInfos [0] CryptoInfos OPTIONAL, encryptionInfo [1] EncryptionInfo OPTIONAL,
        archiveTimeStampSequence SEQUENCE OF SEQUENCE OF ArchiveTimeStamp }
    ArchiveTimeStamp ::= SEQUENCE {
        digestAlgorithm [0] AlgorithmIdentifier OPTIONAL, attributes [1] Attributes OPTIONAL,
        reducedHashtree [2] SEQUENCE OF SEQUENCE OF OCTET STRING OPTIONAL, timeStamp ContentInfo }

The tags are implicit. Strict DER, so that what was read and is encoded again has the same bytes: renewals hash them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from tsa_core.evidence.errors import MalformedRecord
from tsa_core.paths.der_fields import Fields
from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import IMPRINT_HASHES, HashAlgorithm
from tsa_core.protocol.reply import read_token
from tsa_core.protocol.tstinfo_reader import TSTInfo, read_tst_info

MAX_RECORD_OCTETS: Final = 1 << 24
"""Larger than a century of renewals with revocation data, or than a data group of 250,000 documents."""
MAX_TIMESTAMPS: Final = 256
"""Timestamps in one record; one in five months for a century."""

PartialHashtree = tuple[bytes, ...]
"""Hash values with one father node; the first list of a tree holds the object, or a data group."""

_VERSION: Final = der.integer(1)
_HASHES: Final = {hash_algorithm.oid: hash_algorithm for hash_algorithm in IMPRINT_HASHES.values()}


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveTimeStamp:
    """One timestamp over a hash tree, with the part of the tree that leads from the objects to its root.

    `time_stamp` is the ContentInfo as it was sent. `digest_algorithm` is the encoded AlgorithmIdentifier; `attributes`
    the content of that field. Both are empty when absent. Without `reduced_hashtree`, the timestamp is over one hash.
    """

    time_stamp: bytes
    digest_algorithm: bytes = b""
    attributes: bytes = b""
    reduced_hashtree: tuple[PartialHashtree, ...] | None = None

    @property
    def hash_algorithm(self) -> HashAlgorithm:
        """The hash of the tree: the field, or that of the timestamp's imprint (RFC 4998 4.1); MalformedRecord."""
        if not self.digest_algorithm:
            return _known_hash(self.info.hash_oid)
        return read_hash(self.digest_algorithm)

    @property
    def info(self) -> TSTInfo:
        """What the timestamp states, which nobody has verified yet; MalformedRecord."""
        return _read_info(self.time_stamp)

    def encode(self) -> bytes:
        """Return its DER."""
        parts = [der.tlv(0xA0, self.digest_algorithm[_start(self.digest_algorithm) :])] if self.digest_algorithm else []
        if self.attributes:
            parts.append(der.tlv(0xA1, self.attributes))
        if self.reduced_hashtree is not None:
            parts.append(der.tlv(0xA2, b"".join(map(_encode_list, self.reduced_hashtree))))
        return der.sequence(*parts, self.time_stamp)


ArchiveTimeStampChain = tuple[ArchiveTimeStamp, ...]
"""Timestamps of which each covers the one before, all with one hash algorithm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceRecord:
    """A whole record. `crypto_infos` and `encryption_info` are the contents of these fields, empty when absent."""

    digest_algorithms: tuple[bytes, ...]
    chains: tuple[ArchiveTimeStampChain, ...]
    crypto_infos: bytes = b""
    encryption_info: bytes = b""

    @classmethod
    def from_der(cls, data: bytes) -> EvidenceRecord:
        """Read the one EvidenceRecord that fills `data`; raises MalformedRecord for anything else."""
        if len(data) > MAX_RECORD_OCTETS:
            raise MalformedRecord(f"the record has {len(data)} bytes, over {MAX_RECORD_OCTETS}")
        try:
            return _record(data)
        except EncodingError as error:
            raise MalformedRecord(f"it is not an evidence record of RFC 4998: {error}") from None

    @classmethod
    def initial(cls, *timestamps: ArchiveTimeStamp) -> EvidenceRecord:
        """Return the record whose only chain has these timestamps."""
        return cls(digest_algorithms=_algorithms((timestamps,)), chains=(timestamps,))

    @property
    def timestamps(self) -> tuple[ArchiveTimeStamp, ...]:
        """The timestamps of all chains, oldest first."""
        return tuple(timestamp for chain in self.chains for timestamp in chain)

    def with_timestamp(self, timestamp: ArchiveTimeStamp) -> EvidenceRecord:
        """Return the record with one more timestamp in its last chain (timestamp renewal)."""
        return self._with_chains((*self.chains[:-1], (*self.chains[-1], timestamp)))

    def with_chain(self, timestamp: ArchiveTimeStamp) -> EvidenceRecord:
        """Return the record with a new chain that begins with this timestamp (hash tree renewal)."""
        return self._with_chains((*self.chains, (timestamp,)))

    def with_last_token(self, token: bytes) -> EvidenceRecord:
        """Return the record with another ContentInfo in its last timestamp, which nothing covers yet."""
        *before, last = self.chains[-1]
        return self._with_chains((*self.chains[:-1], (*before, replace(last, time_stamp=token))))

    def _with_chains(self, chains: tuple[ArchiveTimeStampChain, ...]) -> EvidenceRecord:
        known = dict.fromkeys((*self.digest_algorithms, *_algorithms(chains)))
        return replace(self, chains=chains, digest_algorithms=tuple(known))

    def encode(self) -> bytes:
        """Return its DER."""
        parts = [_VERSION, der.sequence(*self.digest_algorithms)]
        if self.crypto_infos:
            parts.append(der.tlv(0xA0, self.crypto_infos))
        if self.encryption_info:
            parts.append(der.tlv(0xA1, self.encryption_info))
        return der.sequence(*parts, encode_sequence(self.chains))


def encode_sequence(chains: tuple[ArchiveTimeStampChain, ...]) -> bytes:
    """Return the DER of an ArchiveTimeStampSequence with these chains; hash tree renewal covers it (RFC 4998 5.2)."""
    return der.sequence(*(der.sequence(*(timestamp.encode() for timestamp in chain)) for chain in chains))


def _algorithms(chains: tuple[ArchiveTimeStampChain, ...]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(timestamp.hash_algorithm.identifier for chain in chains for timestamp in chain))


def _encode_list(values: PartialHashtree) -> bytes:
    """Return the DER of a PartialHashtree; nearly all have one value, and a million records have 20 million of them."""
    if len(values) == 1:
        return _headers_of_one(len(values[0])) + values[0]
    return der.sequence(*map(der.octet_string, values))


@lru_cache(maxsize=16)
def _headers_of_one(size: int) -> bytes:
    whole = der.sequence(der.octet_string(bytes(size)))
    return whole[: len(whole) - size]


def _start(encoded: bytes) -> int:
    return der.read(encoded, 0, len(encoded))[1]


@lru_cache(maxsize=64)
def _read_info(token: bytes) -> TSTInfo:
    try:
        return read_tst_info(read_token(token).content)
    except EncodingError as error:
        raise MalformedRecord(f"a timestamp in the record cannot be read: {error}") from None


def _known_hash(oid: str) -> HashAlgorithm:
    if oid not in _HASHES:
        raise MalformedRecord(f"the hash algorithm {oid} of the record is not known here")
    return _HASHES[oid]


@lru_cache(maxsize=64)
def read_hash(identifier: bytes) -> HashAlgorithm:
    """Return the hash of an encoded AlgorithmIdentifier; raises MalformedRecord for one that is not known here."""
    try:
        fields = Fields.of_sequence(identifier, "digestAlgorithm")
        oid = fields.dotted("digestAlgorithm")
        if fields.tag != -1:
            fields.content(der.NULL, "the parameters of digestAlgorithm")
        fields.finish("digestAlgorithm")
    except EncodingError as error:
        raise MalformedRecord(f"a hash algorithm of the record cannot be read: {error}") from None
    return _known_hash(oid)


def _record(data: bytes) -> EvidenceRecord:
    fields = Fields.of_sequence(data, "the record")
    version = fields.content(der.INTEGER, "the version")
    if version != b"\x01":
        raise EncodingError("it has another version than 1")
    listed = fields.enter(der.SEQUENCE, "digestAlgorithms")
    algorithms = []
    while listed.tag != -1:
        algorithms.append(listed.whole(der.SEQUENCE, "an AlgorithmIdentifier"))
    crypto_infos = fields.content(0xA0, "cryptoInfos") if fields.tag == 0xA0 else b""
    encryption_info = fields.content(0xA1, "encryptionInfo") if fields.tag == 0xA1 else b""
    sequence = fields.enter(der.SEQUENCE, "archiveTimeStampSequence")
    fields.finish("the record")
    chains: list[ArchiveTimeStampChain] = []
    count = 0
    while sequence.tag != -1:
        inner = sequence.enter(der.SEQUENCE, "an ArchiveTimeStampChain")
        chain: list[ArchiveTimeStamp] = []
        while inner.tag != -1:
            count += 1
            if count > MAX_TIMESTAMPS:
                raise EncodingError(f"it has more than {MAX_TIMESTAMPS} timestamps")
            chain.append(_timestamp(inner.enter(der.SEQUENCE, "an ArchiveTimeStamp")))
        if not chain:
            raise EncodingError("an ArchiveTimeStampChain is empty")
        chains.append(tuple(chain))
    if not chains:
        raise EncodingError("it holds no timestamp")
    return EvidenceRecord(
        digest_algorithms=tuple(algorithms),
        chains=tuple(chains),
        crypto_infos=crypto_infos,
        encryption_info=encryption_info,
    )


def _timestamp(fields: Fields) -> ArchiveTimeStamp:
    algorithm = der.tlv(der.SEQUENCE, fields.content(0xA0, "digestAlgorithm")) if fields.tag == 0xA0 else b""
    attributes = fields.content(0xA1, "attributes") if fields.tag == 0xA1 else b""
    tree = _tree(fields.enter(0xA2, "reducedHashtree")) if fields.tag == 0xA2 else None
    token = fields.whole(der.SEQUENCE, "a timestamp")
    fields.finish("an ArchiveTimeStamp")
    return ArchiveTimeStamp(time_stamp=token, digest_algorithm=algorithm, attributes=attributes, reduced_hashtree=tree)


def _tree(fields: Fields) -> tuple[PartialHashtree, ...]:
    tree = []
    while fields.tag != -1:
        inner = fields.enter(der.SEQUENCE, "a PartialHashtree")
        values = []
        while inner.tag != -1:
            values.append(inner.content(der.OCTET_STRING, "a hash value"))
        if not values:
            raise EncodingError("a list of hash values is empty")
        tree.append(tuple(values))
    if not tree:
        raise EncodingError("a reduced hash tree is empty")
    return tuple(tree)
