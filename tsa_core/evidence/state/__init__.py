"""A directory that keeps evidence for many files: its format is in docs/verify/evidence.md."""

from tsa_core.evidence.state.adding import AddedBatch, add_files
from tsa_core.evidence.state.batch import Batch
from tsa_core.evidence.state.checking import CheckedFile, check_batch, check_files, record_of
from tsa_core.evidence.state.completeness import check_links
from tsa_core.evidence.state.directory import StateDirectory, StateError
from tsa_core.evidence.state.due import Due, due_batches
from tsa_core.evidence.state.renewing import RenewedBatch, renew_batches

__all__ = [
    "AddedBatch",
    "Batch",
    "CheckedFile",
    "Due",
    "RenewedBatch",
    "StateDirectory",
    "StateError",
    "add_files",
    "check_batch",
    "check_files",
    "check_links",
    "due_batches",
    "record_of",
    "renew_batches",
]
