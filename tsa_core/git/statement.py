r"""What a timestamp of a commit or a tag is over: a short text with SHA-256 digests of the content, not Git's names.

Git's own names are SHA-1 in most repositories. So the statement is made of the content:

    tsa-core git statement 1
    commit sha256:<digest of the commit object's content>
    tree sha256:<digest of the list of files>

A tag has a line `tag sha256:...` of the tag object before that of its commit. The list of files has an entry for each
file of the commit, in the order of the octets of their paths: `MODE SP sha256:DIGEST TAB PATH NUL`, where the digest is
of the file's content, or of a symbolic link's target. A submodule is `160000 SP git:NAME TAB PATH NUL`, because its
content is not here. The history is named by the commit object with Git's names alone: each commit has a timestamp of
its own.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack
from typing import Final, Self

from tsa_core.git.repository import GitError, Objects, Repository
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import IMPRINT_HASHES
from tsa_core.protocol.reply import read_token
from tsa_core.protocol.tstinfo_reader import read_tst_info

_TITLE: Final = b"tsa-core git statement 1\n"
_IDENTIFIER: Final = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_ENTRIES: Final = 5_000_000
_MAX_TAGS: Final = 16
"""Tags of tags."""
_MAX_OBJECT_OCTETS: Final = 16 << 20
"""Of a commit or a tag object."""
_BLOB_MODES: Final = frozenset({b"100644", b"100755", b"100664", b"120000"})


class Statements:
    """Makes the statements of a repository's objects; each file is hashed once, however many commits have it."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._stack = ExitStack()
        self._objects: Objects | None = None
        self._known: dict[bytes, bytes] = {}

    def __enter__(self) -> Self:
        self._objects = self._stack.enter_context(self._repository.objects())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._objects = None

    def of(self, identifier: str) -> bytes:
        """Return the statement of a commit or tag object; raises GitError when something of it is missing."""
        if self._objects is None:
            raise GitError("the statements of a repository are made inside of a `with`")
        lines = [_TITLE]
        for _ in range(_MAX_TAGS):
            kind, content = _whole(self._objects, identifier)
            if kind not in {"commit", "tag"}:
                raise GitError(f"{identifier} is a {kind}; commits and annotated tags are timestamped")
            lines.append(f"{kind} sha256:{hashlib.sha256(content).hexdigest()}\n".encode())
            if kind == "commit":
                listing = _listing(self._repository, self._objects, _header(content, b"tree"), self._known)
                lines.append(f"tree sha256:{listing}\n".encode())
                return b"".join(lines)
            identifier = _header(content, b"object")
        raise GitError(f"more than {_MAX_TAGS} tags point at each other")


def is_about(token: bytes, statement: bytes) -> bool:
    """Say whether a token states the digest of this statement; who made it is not looked at."""
    try:
        info = read_tst_info(read_token(token).content)
    except EncodingError:
        return False
    algorithm = next((each for each in IMPRINT_HASHES.values() if each.oid == info.hash_oid), None)
    return algorithm is not None and algorithm.digest(statement) == info.hashed_message


def _whole(objects: Objects, identifier: str) -> tuple[str, bytes]:
    kind, pieces = objects.pieces(identifier)
    content = bytearray()
    for piece in pieces:
        content += piece
        if len(content) > _MAX_OBJECT_OCTETS:
            raise GitError(f"the object {identifier} is longer than {_MAX_OBJECT_OCTETS} bytes")
    return kind, bytes(content)


def _header(content: bytes, name: bytes) -> str:
    """Return the identifier in the first header of a commit or a tag."""
    first, _, value = content.partition(b"\n")[0].partition(b" ")
    if first != name:
        raise GitError("a commit or tag object does not begin as it must")
    if not _IDENTIFIER.fullmatch(value):
        raise GitError("a commit or tag object does not begin as it must")
    return value.decode()


def _listing(repository: Repository, objects: Objects, tree: str, known: dict[bytes, bytes]) -> str:
    """Return the SHA-256 of the list of files."""
    output = repository.run("ls-tree", "-r", "-z", "--full-tree", "--end-of-options", tree)
    entries = output.split(b"\0")[:-1]
    if len(entries) > _MAX_ENTRIES:
        raise GitError(f"the commit has more than {_MAX_ENTRIES} files")
    digest = hashlib.sha256()
    for path, mode, name in sorted(map(_entry, entries)):
        if mode == b"160000":
            value = b"git:" + name
        else:
            if mode not in _BLOB_MODES:
                raise GitError(f"a file has the mode {mode.decode('ascii', 'replace')[:12]}, which is unknown")
            value = known.get(name) or known.setdefault(name, _blob(objects, name))
        digest.update(mode + b" " + value + b"\t" + path + b"\0")
    return digest.hexdigest()


def _entry(line: bytes) -> tuple[bytes, bytes, bytes]:
    words, _, path = line.partition(b"\t")
    mode, _, name = words.split(b" ")
    return path, mode, name


def _blob(objects: Objects, name: bytes) -> bytes:
    digest = hashlib.sha256()
    kind, pieces = objects.pieces(name.decode())
    for piece in pieces:
        digest.update(piece)
    if kind != "blob":
        raise GitError(f"the object {name.decode()} is a {kind} where a file should be")
    return b"sha256:" + digest.hexdigest().encode()
