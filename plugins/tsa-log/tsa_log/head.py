"""Who writes a log in a bucket, and which step they make: the object `writer.json` beside the log's files.

A writer puts down each step before it writes a tile of it, on the condition that the object is what it has seen last.
Of two that continue the same tree, one fails there, before it has written anything else.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Final, NamedTuple

from tsa_core.api.transparency import HASH_OCTETS
from tsa_log.objects import ObjectStorage
from tsa_log.storage import CHECKPOINT, Conflict

HEAD: Final = "writer.json"


class TreeHead(NamedTuple):
    """A tree: how many leaves, and its root; empty for none."""

    size: int
    root: bytes


@dataclass(frozen=True, kw_only=True)
class Claim:
    """That one writer goes, or has gone, from one tree to the next."""

    origin: str
    writer: str
    """A random name, which belongs to the directory with the journal."""
    host: str
    before: TreeHead
    after: TreeHead

    def encode(self) -> bytes:
        """Return the object."""
        document = {
            "version": 1,
            "origin": self.origin,
            "writer": self.writer,
            "host": self.host,
            "before": {"size": self.before.size, "root": self.before.root.hex()},
            "after": {"size": self.after.size, "root": self.after.root.hex()},
        }
        return json.dumps(document, indent=1).encode() + b"\n"


def read_claim(data: bytes, where: str) -> Claim:
    """Return the claim in an object; raises Conflict for what is none of ours."""
    try:
        document = json.loads(data)
        if document["version"] != 1:
            raise ValueError
        before, after = (_tree(document[name]) for name in ("before", "after"))
        return Claim(
            origin=str(document["origin"]),
            writer=str(document["writer"]),
            host=str(document["host"]),
            before=before,
            after=after,
        )
    except (KeyError, TypeError, ValueError):
        raise Conflict(f"{where}/{HEAD} is damaged, or of another version of tsa-log") from None


def _tree(document: dict[str, object]) -> TreeHead:
    size, root = document["size"], bytes.fromhex(str(document["root"]))
    if not isinstance(size, int) or size < 0 or len(root) != (HASH_OCTETS if size else 0):
        raise ValueError
    return TreeHead(size, root)


class Head:
    """The claim of one writer."""

    def __init__(self, storage: ObjectStorage, *, origin: str, writer: str) -> None:
        self._storage = storage
        self._origin = origin
        self._writer = writer
        self._proven = False

    def claim(self, before: TreeHead, after: TreeHead) -> None:
        """Put down a step, or with twice the same tree that this writer is at it.

        Raises Conflict when somebody else was there, OSError when the store failed; then it may have been put down.
        """
        wanted = self._claimed(before, after)

        def change(found: bytes | None) -> bytes:
            if found is None:
                self._check_new(before)
                return wanted.encode()
            claim = read_claim(found, self._storage.where)
            self._check(claim, wanted)
            return found if claim.after == after else wanted.encode()

        self._storage.update(HEAD, change)
        if not self._proven:
            self._storage.prove_conditions(HEAD)
            self._proven = True

    def take_over(self, former: Claim, tree: TreeHead) -> None:
        """Become the writer instead of another one, at a tree; raises Conflict when that one still writes."""
        wanted = self._claimed(tree, tree)
        if former.origin != wanted.origin:
            raise Conflict(f"{self._storage.where} holds the log {former.origin}, and this is {wanted.origin}")

        def change(found: bytes | None) -> bytes:
            if found not in {former.encode(), wanted.encode()}:
                raise Conflict(f"the writer {former.host} still writes to {self._storage.where}: stop it first")
            return wanted.encode()

        self._storage.update(HEAD, change)

    def _claimed(self, before: TreeHead, after: TreeHead) -> Claim:
        """Return a claim of this writer."""
        return Claim(origin=self._origin, writer=self._writer, host=socket.gethostname(), before=before, after=after)

    def _check_new(self, before: TreeHead) -> None:
        if before.size:  # the tiles were copied here, and lead to this tree
            return
        try:
            self._storage.read(CHECKPOINT)
        except FileNotFoundError:
            return
        raise Conflict(
            f"there is a log in {self._storage.where}, and none in this directory; begin at an empty prefix, or "
            "take it over: timestamp-server log take-over"
        )

    def look(self, before: TreeHead, after: TreeHead) -> None:
        """Raise Conflict when a claim would, and OSError; changes nothing."""
        try:
            found = self._storage.read(HEAD)
        except FileNotFoundError:
            self._check_new(before)
            return
        self._check(read_claim(found, self._storage.where), self._claimed(before, after))

    def _check(self, found: Claim, wanted: Claim) -> None:
        """Raise Conflict unless the writer of `wanted` may follow `found`."""
        where = self._storage.where
        if found.origin != wanted.origin:
            raise Conflict(f"{where} holds the log {found.origin}, and this is {wanted.origin}")
        if found.writer != wanted.writer:
            raise Conflict(
                f"the log in {where} is written by {found.host} (writer {found.writer}), and this is {wanted.host} "
                f"(writer {wanted.writer}): stop one of them; when that machine is lost, timestamp-server log take-over"
            )
        # The step that was put down is made, or is the one that is to be made again, or lies before the tree.
        if found.after not in {wanted.before, wanted.after} and found.after.size >= wanted.before.size:
            raise Conflict(
                f"in {where}, {found.host} goes on to {found.after.size} entries, and this directory is another copy "
                f"of the log, at {wanted.before.size}: it was restored from a backup, or two servers have copies of it"
            )
