"""Proofs that an entry is in a log, as files that people keep (C2SP tlog-proof)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.transparency.checkpoint import (
    SignedCheckpoint,
    parse_signed_checkpoint,
    read_decimal,
    read_hash,
)
from tsa_core.protocol.transparency.merkle import MAX_PATH, leaf_hash, root_of_inclusion
from tsa_core.protocol.transparency.note import MAX_NOTE_OCTETS

SUFFIX: Final = ".tlog-proof"
_FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
_MAX_OCTETS: Final = 2 * MAX_NOTE_OCTETS


@dataclass(frozen=True, slots=True)
class LogProof:
    """An entry's place in a log, the path to a root, and the checkpoint with that root. `extra` is not signed."""

    index: int
    path: tuple[bytes, ...]
    signed: SignedCheckpoint
    extra: bytes | None = None

    def encode(self) -> bytes:
        """Return the file."""
        extra = [] if self.extra is None else [f"extra {base64.b64encode(self.extra).decode('ascii')}"]
        hashes = (base64.b64encode(each).decode("ascii") for each in self.path)
        lines = (_FIRST_LINE, *extra, f"index {self.index}", *hashes, "")
        return "".join(f"{line}\n" for line in lines).encode("ascii") + self.signed.note.encode()

    def proves(self, entry: bytes) -> bool:
        """Say whether the path leads from this entry to the checkpoint's root; nothing is said of signatures."""
        checkpoint = self.signed.checkpoint
        try:
            root = root_of_inclusion(leaf_hash(entry), self.index, checkpoint.size, self.path)
        except ValueError:
            return False
        return root == checkpoint.root


def parse_log_proof(data: bytes) -> LogProof:
    """Read a proof file; raises EncodingError."""
    if len(data) > _MAX_OCTETS:
        raise EncodingError(f"the proof is longer than {_MAX_OCTETS} octets")
    head, separator, note = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        lines = []
    if not separator or lines[:1] != [_FIRST_LINE]:
        raise EncodingError(f"a proof begins with the line {_FIRST_LINE} and has a checkpoint behind an empty line")
    del lines[0]
    extra = None
    if lines and lines[0].startswith("extra "):
        try:
            extra = base64.b64decode(lines.pop(0).removeprefix("extra "), validate=True)
        except (binascii.Error, ValueError):
            raise EncodingError("the proof's extra data is not base64") from None
    if not lines or not lines[0].startswith("index "):
        raise EncodingError("the proof does not say the entry's index")
    index = read_decimal(lines.pop(0).removeprefix("index "), "the entry's index")
    if len(lines) > MAX_PATH:
        raise EncodingError(f"the proof has more than {MAX_PATH} hashes")
    path = tuple(read_hash(line, "a hash of the proof") for line in lines)
    return LogProof(index, path, parse_signed_checkpoint(note), extra)
