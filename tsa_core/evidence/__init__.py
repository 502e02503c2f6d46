"""Evidence records of RFC 4998: proof for decades that any number of objects existed, renewed before it weakens."""

from tsa_core.evidence.cms import AttachedRecord, attach, attached_records, verify_attached
from tsa_core.evidence.enclosing import enclose, filled, verify_own
from tsa_core.evidence.errors import (
    AlgorithmEnded,
    EncryptedObjects,
    EvidenceError,
    GroupMismatch,
    LayerInvalid,
    LinkBroken,
    MalformedRecord,
    ObjectNotCovered,
    OrderWrong,
    RecordRefused,
)
from tsa_core.evidence.making import (
    make_records,
    record_of_token,
    renew_hash_trees,
    renew_timestamps,
    stamper,
)
from tsa_core.evidence.objects import DataGroup
from tsa_core.evidence.place import Place
from tsa_core.evidence.syntax import ArchiveTimeStamp, EvidenceRecord
from tsa_core.evidence.verdict import VerifiedLayer, VerifiedRecord
from tsa_core.evidence.verifier import EvidenceVerifier, verify_record
from tsa_core.paths.algorithm_ends import PLANNED_ENDS, AlgorithmEnd

__all__ = [
    "PLANNED_ENDS",
    "AlgorithmEnd",
    "AlgorithmEnded",
    "ArchiveTimeStamp",
    "AttachedRecord",
    "DataGroup",
    "EncryptedObjects",
    "EvidenceError",
    "EvidenceRecord",
    "EvidenceVerifier",
    "GroupMismatch",
    "LayerInvalid",
    "LinkBroken",
    "MalformedRecord",
    "ObjectNotCovered",
    "OrderWrong",
    "Place",
    "RecordRefused",
    "VerifiedLayer",
    "VerifiedRecord",
    "attach",
    "attached_records",
    "enclose",
    "filled",
    "make_records",
    "record_of_token",
    "renew_hash_trees",
    "renew_timestamps",
    "stamper",
    "verify_attached",
    "verify_own",
    "verify_record",
]
