"""Verification of evidence records (RFC 4998 5.3), from the last timestamp, which must hold now, back to the first.

    from tsa_core.evidence import verify_record
    verdict = verify_record(record, Path("contract.pdf"), trust=trust)
    print(verdict.existed)

What each timestamp must cover is in `coverage`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Unpack

from tsa_core.evidence.algorithms import check_ends, uses_of
from tsa_core.evidence.coverage import Covered, check_coverage
from tsa_core.evidence.errors import AlgorithmEnded, EncryptedObjects, LayerInvalid, MalformedRecord, OrderWrong
from tsa_core.evidence.objects import DataGroup, DataObject, digests, members_of
from tsa_core.evidence.place import Place
from tsa_core.evidence.syntax import ArchiveTimeStamp, EvidenceRecord, read_hash
from tsa_core.evidence.verdict import VerifiedLayer, VerifiedRecord, proven_time
from tsa_core.paths.algorithm_ends import AlgorithmEnd
from tsa_core.paths.certificate import text
from tsa_core.paths.notes import Note
from tsa_core.protocol.hashes import HashAlgorithm
from tsa_core.protocol.reply import read_signer_info, read_token
from tsa_core.verify import DEFAULT_PERIODS, TrustStore, VerificationError, VerifiedTimestamp, Verifier
from tsa_core.verify.algorithms import digest_algorithm
from tsa_core.verify.expectations import Acceptance
from tsa_core.verify.tolerances import algorithm_rules

_MAX_REMEMBERED = 4096


class EvidenceVerifier:
    """Verifies evidence records against one set of expectations.

    `acceptance` is that of `tsa_core.verify.Verifier` and holds for every timestamp; `algorithm_periods` are
    DEFAULT_PERIODS unless given. `algorithm_ends` are further ends, of algorithms that are strong today. Records that
    share a timestamp cost its verification once.
    """

    def __init__(
        self, trust: TrustStore, *, algorithm_ends: Iterable[AlgorithmEnd] = (), **acceptance: Unpack[Acceptance]
    ) -> None:
        acceptance.setdefault("algorithm_periods", DEFAULT_PERIODS)
        self._periods = tuple(acceptance.get("algorithm_periods", ()))
        acceptance["algorithm_periods"] = self._periods
        self._allow = frozenset(acceptance.get("allow", ()))
        acceptance["allow"] = self._allow
        self._ends = tuple(algorithm_ends)
        self._verifier = Verifier(trust, **acceptance)
        self._layers: dict[tuple[bytes, HashAlgorithm, bytes, datetime], VerifiedLayer] = {}

    def verify(
        self, record: bytes | EvidenceRecord, item: DataObject | DataGroup, *, time: datetime | None = None
    ) -> VerifiedRecord:
        """Return what a record proves about an object or a data group, or raise a VerificationError.

        The last timestamp must hold at `time`, aware, which is now unless given; every other one at the moment that
        the next one proves. An object is read as a whole; what is wrong with a file is an OSError.
        """
        if time is not None and time.tzinfo is None:
            raise TypeError("the time of verification must be an aware datetime")
        read = EvidenceRecord.from_der(record) if isinstance(record, bytes) else record
        if read.encryption_info:
            raise EncryptedObjects(
                "the record is about encrypted objects (encryptionInfo); how to encrypt them again is not known here"
            )
        algorithms = _chain_algorithms(read)
        check_order(read)
        members = [digests(member, algorithms) for member in members_of(item)]
        covered, notes = check_coverage(read, algorithms, members, whole=isinstance(item, DataGroup))
        checked_at = time or datetime.now(UTC)
        layers = self._verify_layers(covered, time, checked_at)
        return VerifiedRecord(
            record=read,
            layers=layers,
            checked_at=checked_at,
            notes=(*notes.accepted, *_of_layers(layers, lambda verdict: verdict.notes)),
            unchecked=(*notes.unchecked, *_crypto_infos(read), *_of_layers(layers, lambda verdict: verdict.unchecked)),
        )

    def _verify_layers(self, covered: list[Covered], time: datetime | None, now: datetime) -> tuple[VerifiedLayer, ...]:
        layers: list[VerifiedLayer] = []
        for each in reversed(covered):
            is_last = not layers
            moment = now if is_last else proven_time(layers[-1].timestamp)
            # A verdict for now is one for this second: whoever keeps the verifier for years must see a path end.
            at = moment.replace(microsecond=0) if is_last and time is None else moment
            key = (each.token, each.algorithm, each.root, at)
            layer = self._layers.get(key)
            if layer is None or layer.place != each.place:
                layer = self._verify_layer(each, moment, is_last=is_last, given=time is not None)
                if len(self._layers) >= _MAX_REMEMBERED:
                    self._layers.clear()
                self._layers[key] = layer
            layers.append(layer)
        return tuple(reversed(layers))

    def _verify_layer(self, covered: Covered, moment: datetime, *, is_last: bool, given: bool) -> VerifiedLayer:
        when = f"at {text(moment)}, " + ("now" if not given else "the time of verification")
        if not is_last:
            when = f"at {text(moment)}, when the next timestamp of the record proves it"
        info = ArchiveTimeStamp(time_stamp=covered.token).info
        if (info.earliest or info.gen_time) > moment:
            raise OrderWrong(f"{covered.place} is of {text(info.gen_time)}, which is after {text(moment)}")
        try:
            verdict = self._verifier.verify_token(
                covered.token,
                digest=covered.root,
                digest_algorithm=covered.algorithm.name,
                time=moment,
                existed=moment,
            )
        except VerificationError as error:
            raise LayerInvalid(covered.place, error, when) from error
        self._check_hash(covered, moment)
        check_ends(
            uses_of(covered.algorithm, _digest_name(covered.token), verdict), self._ends, moment, str(covered.place)
        )
        return VerifiedLayer(place=covered.place, hash_name=covered.algorithm.name, timestamp=verdict, valid_at=moment)

    def _check_hash(self, covered: Covered, moment: datetime) -> None:
        """Raise AlgorithmEnded when the tree's hash was too weak at the moment until which the tree must hold."""
        algorithm = covered.algorithm
        if not algorithm.weak or algorithm.name in self._allow:
            return
        ends = [period for period in self._periods if period.algorithm == algorithm.name]
        if any(moment <= period.until for period in ends):
            return
        known = f"; it ended at {text(ends[0].until)} ({ends[0].source})" if ends else ""
        raise AlgorithmEnded(
            f"the hash tree of {covered.place} is made with {algorithm.name}, weak at {text(moment)}{known}"
        )


def verify_record(
    record: bytes | EvidenceRecord,
    item: DataObject | DataGroup,
    *,
    trust: TrustStore,
    time: datetime | None = None,
    algorithm_ends: Iterable[AlgorithmEnd] = (),
    **acceptance: Unpack[Acceptance],
) -> VerifiedRecord:
    """Verify one record; EvidenceVerifier is faster for more than one."""
    return EvidenceVerifier(trust, algorithm_ends=algorithm_ends, **acceptance).verify(record, item, time=time)


def check_order(record: EvidenceRecord) -> None:
    """Raise OrderWrong unless the timestamps are in the order of the times that they state."""
    previous: datetime | None = None
    for number, chain in enumerate(record.chains, 1):
        for position, timestamp in enumerate(chain, 1):
            time = timestamp.info.gen_time
            if previous is not None and time < previous:
                place = Place(chain=number, timestamp=position)
                raise OrderWrong(f"{place} is of {text(time)}, before the one that it renews, of {text(previous)}")
            previous = time


def _chain_algorithms(record: EvidenceRecord) -> tuple[HashAlgorithm, ...]:
    """Return the hash of each chain; raises OrderWrong for a chain that changes it."""
    found = []
    for number, chain in enumerate(record.chains, 1):
        algorithm, *others = (timestamp.hash_algorithm for timestamp in chain)
        for position, other in enumerate(others, 2):
            if other is not algorithm:
                place = Place(chain=number, timestamp=position)
                raise OrderWrong(f"{place} uses {other.name} and the chain began with {algorithm.name}")
        found.append(algorithm)
    listed = {read_hash(identifier) for identifier in record.digest_algorithms}
    for algorithm in found:
        if algorithm not in listed:
            raise MalformedRecord(f"digestAlgorithms does not list {algorithm.name}, which a chain uses")
    return tuple(found)


def _digest_name(token: bytes) -> str:
    """Return the hash that the signature of a verified token is made with."""
    info = read_signer_info(read_token(token).signers[0])
    return digest_algorithm(
        info.digest_algorithm_der, "the message digest", algorithm_rules(frozenset({"sha1", "md5"}))
    ).name


def _crypto_infos(record: EvidenceRecord) -> Iterator[Note]:
    if record.crypto_infos:
        text_ = "cryptoInfos: what stands there is covered by no timestamp, and is not used"
        yield Note(code="crypto-infos", text=text_)


def _of_layers(
    layers: Iterable[VerifiedLayer], select: Callable[[VerifiedTimestamp], Iterable[Note]]
) -> Iterator[Note]:
    for layer in layers:
        for note in select(layer.timestamp):
            yield Note(code=note.code, text=f"{layer.place}: {note.text}")
