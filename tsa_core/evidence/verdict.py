"""What the verification of an evidence record says: each timestamp, until when it had to hold, what nobody checked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tsa_core.evidence.place import Place
from tsa_core.evidence.syntax import EvidenceRecord
from tsa_core.paths.notes import Note
from tsa_core.verify import VerifiedTimestamp


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedLayer:
    """One timestamp that holds at `valid_at`: when the next one had been made, or the moment of verification.

    `hash_name` is the hash of its tree. `timestamp` is the verdict on the token alone.
    """

    place: Place
    hash_name: str
    timestamp: VerifiedTimestamp
    valid_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedRecord:
    """An evidence record that holds: its objects existed at `existed`, and nothing broke the proof since.

    `layers` are oldest first. `checked_at` is the moment for which the verdict speaks. `notes` say what was accepted
    although it is unusual or weak; `unchecked`, what the verdict does not say.
    """

    record: EvidenceRecord
    layers: tuple[VerifiedLayer, ...]
    checked_at: datetime
    notes: tuple[Note, ...] = ()
    unchecked: tuple[Note, ...] = ()

    @property
    def gen_time(self) -> datetime:
        """The time that the first timestamp states."""
        return self.layers[0].timestamp.gen_time

    @property
    def existed(self) -> datetime:
        """The moment by which the objects existed: the first timestamp's time, and its accuracy where it states one."""
        return proven_time(self.layers[0].timestamp)


def proven_time(verdict: VerifiedTimestamp) -> datetime:
    """Return by when something existed that a timestamp covers: the latest moment at which it may have been made."""
    return verdict.latest or verdict.gen_time
