"""Why an evidence record was refused: one exception for each reason, each naming its rule (docs/verify/evidence.md)."""

from __future__ import annotations

from tsa_core.evidence.place import Place
from tsa_core.protocol.errors import TsaError
from tsa_core.verify.errors import VerificationError


class EvidenceError(TsaError):
    """An evidence record, or what should be made or renewed, is not as it must be; the text says why in one line."""


class RecordRefused(VerificationError):
    """What an evidence record says of its objects must not be relied on."""

    rule = "E"


class MalformedRecord(RecordRefused):
    """The bytes are not an EvidenceRecord of RFC 4998: structure, trailing bytes or size."""

    rule = "E1"


class EncryptedObjects(RecordRefused):
    """The record is about encrypted objects, and how to encrypt them again is not known here (RFC 4998 6)."""

    rule = "E2"


class ObjectNotCovered(RecordRefused):
    """The hash of an object is not where it must be: in the first list of a reduced hash tree."""

    rule = "E3"


class GroupMismatch(RecordRefused):
    """The data group in the record has other members than the group that is verified."""

    rule = "E4"


class LinkBroken(RecordRefused):
    """A renewal does not cover what it should have renewed."""

    rule = "E5"


class OrderWrong(RecordRefused):
    """The timestamps are not in the order of their times, or a chain changes its hash algorithm."""

    rule = "E6"


class AlgorithmEnded(RecordRefused):
    """An algorithm was no longer strong at the moment until which it had to hold."""

    rule = "E7"


class LayerInvalid(RecordRefused):
    """A timestamp of the record does not hold at the moment that the next one proves, or now for the last one.

    `place` says which it is; `cause` is the VerificationError of the timestamp itself.
    """

    rule = "E8"

    def __init__(self, place: Place, cause: VerificationError, when: str) -> None:
        super().__init__(f"{place} does not hold {when}: {cause} (rule {cause.rule})")
        self.place = place
        self.cause = cause
