"""Checkpoints: what a log says its tree is, signed by the log and cosigned by witnesses.

C2SP tlog-checkpoint and tlog-cosignature. Keys are Ed25519 or ML-DSA-44.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.transparency.merkle import HASH_OCTETS
from tsa_core.protocol.transparency.note import NoteSignature, SignatureType, SignedNote, VerifierKey, parse_note

MAX_SIZE: Final = (1 << 63) - 1
_MAX_TIME: Final = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())
_COSIGNATURE_HEADER: Final = "cosignature/v1\n"
_SUBTREE_LABEL: Final = b"subtree/v1\n\0"
_TIME_OCTETS: Final = 8


class Checkpoint(NamedTuple):
    """A log's origin, the number of its leaves, and the root of their tree."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text of the note."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode("ascii"), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def read_decimal(text: str, what: str) -> int:
    """Return a number without sign and leading zeros, below 2**63; raises EncodingError."""
    if text.isascii() and text.isdigit() and len(text) <= 19 and (text == "0" or text[0] != "0"):
        number = int(text)
        if number <= MAX_SIZE:
            return number
    raise EncodingError(f"{what} is not a number below 2^63 without leading zeros")


def read_hash(text: str, what: str) -> bytes:
    """Return 32 octets from base64; raises EncodingError."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    # Other texts, with bits behind the last octet, stand for the same hash: each hash has one text.
    if len(data) != HASH_OCTETS or base64.b64encode(data).decode("ascii") != text:
        raise EncodingError(f"{what} is not the base64 of {HASH_OCTETS} octets")
    return data


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a note's text as a checkpoint; raises EncodingError."""
    origin, *rest = text.removesuffix("\n").split("\n")
    if len(rest) < 2 or not origin or not all(rest):
        raise EncodingError("a checkpoint has at least three lines, none of them empty: origin, size and root")
    return Checkpoint(
        origin, read_decimal(rest[0], "the tree's size"), read_hash(rest[1], "the tree's root"), tuple(rest[2:])
    )


class Cosignature(NamedTuple):
    """That a key signed a checkpoint at a time of its own clock; None for a log's signature without a time."""

    key: VerifierKey
    time: datetime | None


class SignedCheckpoint(NamedTuple):
    """A checkpoint in its note. Only what `signed_by` returns has been verified."""

    note: SignedNote
    checkpoint: Checkpoint

    def signed_by(self, keys: Iterable[VerifierKey]) -> list[Cosignature]:
        """Return which of these keys signed the checkpoint, and when.

        Signatures by other keys are passed over. Raises InvalidSignature when one that says it is by a known key does
        not verify (C2SP signed-note): the note is then not what somebody signed.
        """
        return [Cosignature(key, self._verify(key, signature)) for key in keys for signature in self.note.by(key)]

    def _verify(self, key: VerifierKey, signature: NoteSignature) -> datetime | None:
        data = signature.signature
        if key.kind is SignatureType.ED25519:
            Ed25519PublicKey.from_public_bytes(key.public_key).verify(data, self.note.text.encode())
            return None
        seconds = int.from_bytes(data[:_TIME_OCTETS], "big")
        if len(data) <= _TIME_OCTETS or seconds > _MAX_TIME:
            raise InvalidSignature
        message = cosigned_message(key, self.note.text, self.checkpoint, seconds)
        if key.kind is SignatureType.COSIGNATURE_ED25519:
            Ed25519PublicKey.from_public_bytes(key.public_key).verify(data[_TIME_OCTETS:], message)
        else:
            MLDSA44PublicKey.from_public_bytes(key.public_key).verify(data[_TIME_OCTETS:], message)
        # Zero says nothing about time (tlog-cosignature), so that it bounds nothing.
        return datetime.fromtimestamp(seconds, UTC) if seconds else None


def cosigned_message(key: VerifierKey, text: str, checkpoint: Checkpoint, seconds: int) -> bytes:
    """Return what a cosignature by this key covers; `seconds` is its time since 1970. ValueError for long names."""
    if key.kind is SignatureType.COSIGNATURE_ED25519:
        return f"{_COSIGNATURE_HEADER}time {seconds}\n{text}".encode()
    names = [name.encode() for name in (key.name, checkpoint.origin)]
    if not all(1 <= len(name) <= 255 for name in names):
        raise ValueError("the names of a cosigner and of a log have 1 to 255 octets")
    cosigner, origin = (bytes([len(name)]) + name for name in names)
    numbers = (seconds.to_bytes(8, "big"), origin, bytes(8), checkpoint.size.to_bytes(8, "big"))
    return b"".join((_SUBTREE_LABEL, cosigner, *numbers, checkpoint.root))


def parse_signed_checkpoint(data: bytes) -> SignedCheckpoint:
    """Read a note that holds a checkpoint; raises EncodingError."""
    note = parse_note(data)
    return SignedCheckpoint(note, parse_checkpoint(note.text))
