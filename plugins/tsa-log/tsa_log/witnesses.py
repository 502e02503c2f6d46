"""Asks witnesses to cosign checkpoints (C2SP tlog-witness), each in a thread of its own."""

from __future__ import annotations

import base64
import http.client
import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

from cryptography.exceptions import InvalidSignature

from tsa_core.api import TsaError
from tsa_core.api.transparency import (
    EncodingError,
    NoteSignature,
    SignedCheckpoint,
    SignedNote,
    TileHashes,
    VerifierKey,
    consistency_path,
    parse_signatures,
    read_decimal,
)
from tsa_log.bounded_http import BoundedConnection, Limit, printable, why_it_failed
from tsa_log.storage import Storage

log = logging.getLogger(__name__)

_MAX_REPLY_OCTETS: Final = 1 << 16
_MAX_SKEW: Final = timedelta(minutes=1)
"""How far a witness's clock may be from ours before its cosignature is said to be odd; it is kept all the same."""


class WitnessError(TsaError):
    """A witness that did not cosign; the text says why."""


class Witness:
    """One witness: where it is, by which key it signs, and the last checkpoint that it is known to have cosigned."""

    def __init__(self, url: str, key: VerifierKey, storage: Storage) -> None:
        self.url = url.rstrip("/")
        self.key = key
        self._storage = storage
        self._size: int | None = None
        self._connection = BoundedConnection(self.url)

    def cosign(self, signed: SignedCheckpoint, *, seconds: float) -> list[NoteSignature]:
        """Return the witness's cosignatures on a checkpoint whose tiles are written; raises WitnessError."""
        deadline = monotonic() + seconds
        old = self._size or 0
        for _ in range(3):  # it may have cosigned another size than we remember, or begun anew
            status, body = self._post(self._body(old, signed), max(deadline - monotonic(), 0.1))
            if status != 409:
                break
            old = self._conflict(body, signed)
        if status != 200:
            raise WitnessError(f"it answered {status}: {printable(body)}")
        found = self._verified(signed, body)
        self._size = signed.checkpoint.size
        return found

    def _body(self, old: int, signed: SignedCheckpoint) -> bytes:
        size = signed.checkpoint.size
        hashes = TileHashes(size, self._storage.read_tile)
        path = consistency_path(old, size, hashes) if old else []
        lines = [f"old {old}", *(base64.b64encode(each).decode("ascii") for each in path), ""]
        return "".join(f"{line}\n" for line in lines).encode("ascii") + signed.note.encode()

    def _post(self, body: bytes, seconds: float) -> tuple[int, bytes]:
        try:
            with Limit(seconds) as limit:
                answer = self._connection.post("add-checkpoint", body, limit, most=_MAX_REPLY_OCTETS)
        except (OSError, http.client.HTTPException) as error:
            raise WitnessError(f"it cannot be reached: {why_it_failed(error)}") from None
        if len(answer.body) > _MAX_REPLY_OCTETS:
            raise WitnessError(f"its answer is longer than {_MAX_REPLY_OCTETS} octets")
        return answer.status, answer.body

    def _conflict(self, body: bytes, signed: SignedCheckpoint) -> int:
        try:
            size = read_decimal(body.decode("ascii", "replace").removesuffix("\n"), "the size in its answer")
        except EncodingError as error:
            raise WitnessError(str(error)) from None
        if size > signed.checkpoint.size:
            raise WitnessError(
                f"it has cosigned a tree of {size} entries, and ours has {signed.checkpoint.size}: the log was "
                "restored from an old backup, or another one has its key"
            )
        return size

    def _verified(self, signed: SignedCheckpoint, body: bytes) -> list[NoteSignature]:
        try:
            lines = [each for each in parse_signatures(body.decode()) if each.signer == self.key.signs_as]
            cosigned = SignedCheckpoint(SignedNote(signed.note.text, tuple(lines)), signed.checkpoint)
            times = [each.time for each in cosigned.signed_by([self.key])]
        except (UnicodeDecodeError, EncodingError, InvalidSignature) as error:
            reason = str(error) or "another key made it"
            raise WitnessError(f"its cosignature does not verify: {reason}") from None
        if not lines:
            raise WitnessError(f"its answer has no signature by the key {self.key.name}")
        if any(time is None or abs(time - datetime.now(UTC)) > _MAX_SKEW for time in times):
            log.warning("the clock of the witness %s is more than a minute from ours", self.key.name)
        return lines

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Round:
    """One checkpoint, and the cosignatures that come in for it."""

    def __init__(self, signed: SignedCheckpoint, witnesses: int) -> None:
        self.signed = signed
        self._left = witnesses
        self._signatures: dict[str, list[NoteSignature]] = {}
        self._changed = threading.Condition()

    def add(self, name: str, signatures: list[NoteSignature] | None) -> None:
        """Take what a witness answered; None when it did not cosign."""
        with self._changed:
            self._left -= 1
            if signatures:
                self._signatures[name] = signatures
            self._changed.notify_all()

    def wait(self, threshold: int, *, seconds: float, grace: float) -> list[NoteSignature]:
        """Wait for all witnesses, or for `threshold` of them and `grace` more seconds; return the cosignatures."""
        with self._changed:
            self._changed.wait_for(lambda: not self._left or len(self._signatures) >= threshold, seconds)
            if self._left and len(self._signatures) >= threshold:
                self._changed.wait_for(lambda: not self._left, min(grace, seconds))
            return [each for signatures in self._signatures.values() for each in signatures]

    @property
    def count(self) -> int:
        """How many witnesses have cosigned."""
        with self._changed:
            return len(self._signatures)


class WitnessThread:
    """Carries checkpoints to one witness. One that hangs holds up nobody else; it is given the newest one later."""

    def __init__(self, witness: Witness, seconds: float) -> None:
        self.witness = witness
        self.failure = ""
        self._seconds = seconds
        self._next: Round | None = None
        self._there = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"log-witness-{witness.key.name}", daemon=True)
        self._thread.start()

    def offer(self, round_: Round) -> None:
        """Give it a checkpoint; one that it has not begun is forgotten."""
        with self._there:
            self._next = round_
            self._there.notify()

    def close(self) -> None:
        """Stop; whatever it waits for is left to end by itself."""
        with self._there:
            self._closed = True
            self._there.notify()

    def _run(self) -> None:
        while (round_ := self._take()) is not None:
            name = self.witness.key.name
            try:
                round_.add(name, self.witness.cosign(round_.signed, seconds=self._seconds))
                if self.failure:
                    log.info("the witness %s cosigns again", name)
                self.failure = ""
            except Exception as error:
                if not isinstance(error, WitnessError):
                    log.exception("the witness %s could not be asked", name)
                if str(error) != self.failure:
                    log.warning("the witness %s (%s) did not cosign: %s", name, self.witness.url, error)
                self.failure = str(error)
                round_.add(name, None)
        self.witness.close()

    def _take(self) -> Round | None:
        with self._there:
            self._there.wait_for(lambda: self._closed or self._next is not None)
            round_, self._next = self._next, None
            return None if self._closed else round_


def ask(threads: Sequence[WitnessThread], signed: SignedCheckpoint) -> Round:
    """Begin a round with all witnesses."""
    round_ = Round(signed, len(threads))
    for thread in threads:
        thread.offer(round_)
    return round_
