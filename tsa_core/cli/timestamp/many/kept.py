"""What is known of one file while it is timestamped, and whether it has its timestamp already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tsa_core.cli.timestamp.many.item import Item
from tsa_core.cli.timestamp.many.outcome import Outcome, State
from tsa_core.cli.timestamp.many.store import Store
from tsa_core.cli.timestamp.many.tokens import check_token
from tsa_core.protocol.hashes import HashAlgorithm
from tsa_core.verify import VerificationError, Verifier


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


def found_already(store: Store, about: About, verifier: Verifier | None) -> Outcome | None:
    """Return the outcome for a file whose timestamp, or something else, is there already; None when nothing is."""
    location = store.location(about.item)
    try:
        data = store.find(about.item)
    except OSError as error:
        return about.outcome(State.FAILED, text=f"{location} is there and cannot be read: {error.strerror}")
    if data is None:
        return None
    try:
        info = check_token(data, about.digest, about.algorithm, verifier)
    except VerificationError as error:
        text = f"{location} is there and is no timestamp of the file as it is now ({error}); --force replaces it"
        return about.outcome(State.FAILED, text=text)
    return about.outcome(State.KEPT, time=info.gen_time, location=location)
