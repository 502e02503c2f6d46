"""What is known of one file while it is timestamped, and whether it has its timestamp already."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tsa_core.cli.timestamp.many.item import Item
from tsa_core.cli.timestamp.many.outcome import Outcome, State
from tsa_core.cli.timestamp.many.reading import Unreadable
from tsa_core.cli.timestamp.many.records import FileDigests, check_record, is_record
from tsa_core.cli.timestamp.many.store import Store
from tsa_core.cli.timestamp.many.tokens import check_token
from tsa_core.protocol.errors import TsaError
from tsa_core.protocol.hashes import HashAlgorithm
from tsa_core.verify import Verifier

if TYPE_CHECKING:
    from tsa_core.evidence import EvidenceVerifier
    from tsa_core.verify import TrustStore


@dataclass(frozen=True, kw_only=True)
class About:
    """A file and its digest; `size` is None where only the digest is known."""

    item: Item
    digest: bytes
    algorithm: HashAlgorithm
    size: int | None

    @property
    def text(self) -> str:
        """The digest as `NAME:HEX`."""
        return f"{self.algorithm.name}:{self.digest.hex()}"

    def outcome(self, state: State, **facts: Any) -> Outcome:
        """Return what became of the file."""
        return Outcome(item=self.item, state=state, digest=self.text, size=self.size, **facts)


@dataclass(frozen=True, kw_only=True)
class Verifiers:
    """What tells whether a timestamp or a record that is there holds; None where nobody said whom to trust."""

    tokens: Verifier | None = None
    records: EvidenceVerifier | None = None

    @classmethod
    def of(cls, trust: TrustStore | None, tokens: Verifier | None) -> Verifiers:
        """Return the verifiers for a trust."""
        if trust is None:
            return cls()
        from tsa_core.evidence import EvidenceVerifier

        return cls(tokens=tokens, records=EvidenceVerifier(trust))

    def time_of(self, data: bytes, about: About) -> datetime:
        """Return the time that a timestamp or record of a file states; raises a TsaError when it is not about it."""
        if not is_record(data):
            return check_token(data, about.digest, about.algorithm, self.tokens).gen_time
        return check_record(data, FileDigests(about.item, {about.algorithm.name: about.digest}), self.records)


def found_already(store: Store, about: About, verifiers: Verifiers) -> Outcome | None:
    """Return the outcome for a file whose timestamp, or something else, is there already; None when nothing is."""
    location = store.location(about.item)
    try:
        data = store.find(about.item)
    except OSError as error:
        return about.outcome(State.FAILED, text=f"{location} is there and cannot be read: {error.strerror}")
    if data is None:
        return None
    try:
        time = verifiers.time_of(data, about)
    except (TsaError, Unreadable) as error:
        text = f"{location} is there and is no timestamp of the file as it is now ({error})"
        text = f"{text}; --force for this file replaces it"
        return about.outcome(State.FAILED, text=text)
    return about.outcome(State.KEPT, time=time, location=location)
