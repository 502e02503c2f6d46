"""The notes that hold the tokens: PEM blocks, one for each timestamp, in refs/notes/timestamps."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from tsa_core.git.repository import GitError, Repository
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.token_material import token_of

NOTES_REF: Final = "refs/notes/timestamps"
_MAX_TOKENS: Final = 64
_MAX_NOTE_OCTETS: Final = 16 << 20
_BLOCK: Final = re.compile(rb"-----BEGIN PKCS7-----\n([A-Za-z0-9+/=\n]{1,2000000})-----END PKCS7-----")


class Notes:
    """The timestamps of a repository's objects; the list of notes is read once."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        lines = repository.run("notes", f"--ref={NOTES_REF}", "list").decode("ascii", "replace").splitlines()
        self._notes = {words[1]: words[0] for words in map(str.split, lines) if len(words) == 2}

    def tokens_of(self, identifier: str) -> tuple[bytes, ...]:
        """Return the tokens in an object's note, oldest first; none without a note. GitError for a broken one."""
        note = self._note(identifier)
        if len(note) > _MAX_NOTE_OCTETS:
            raise GitError(f"the note of {identifier} is longer than {_MAX_NOTE_OCTETS} bytes")
        blocks = _BLOCK.findall(note)
        if len(blocks) > _MAX_TOKENS:
            raise GitError(f"the note of {identifier} holds more than {_MAX_TOKENS} timestamps")
        if note.strip() and not blocks:
            raise GitError(f"the note of {identifier} in {NOTES_REF} holds no timestamp")
        try:
            return tuple(base64.b64decode(b"".join(block.split()), validate=True) for block in blocks)
        except (binascii.Error, ValueError):
            raise GitError(f"the note of {identifier} in {NOTES_REF} holds a block that is not base64") from None

    def add(self, identifier: str, timestamp: bytes) -> None:
        """Add a reply or a token to an object's note; those that are there stay. Raises GitError."""
        try:
            token = token_of(timestamp)
        except EncodingError as error:
            raise GitError(f"the timestamp cannot be kept: {error}") from None
        block = b"-----BEGIN PKCS7-----\n" + base64.encodebytes(token) + b"-----END PKCS7-----\n"
        written = self._repository.run("hash-object", "-w", "--stdin", data=self._note(identifier) + block)
        blob = written.decode().strip()
        words = ("notes", f"--ref={NOTES_REF}", "add", "-f", "-C", blob, identifier)
        self._repository.run(*words, identity=True)
        self._notes[identifier] = blob

    def _note(self, identifier: str) -> bytes:
        blob = self._notes.get(identifier)
        return self._repository.run("cat-file", "blob", blob) if blob is not None else b""
