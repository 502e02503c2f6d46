"""Runs the program git: fixed commands, identifiers as arguments, and nothing that a repository can configure.

Each command has a time limit: in a repository of others a FIFO can stand for a file, and git would wait for it.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from tsa_core.protocol.errors import TsaError

_IDENTIFIER: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_OUTPUT: Final = 256 << 20
_MAX_LINE_OCTETS: Final = 1 << 10
_PIECE: Final = 1 << 20
MAX_SECONDS = 600.0
"""How long a command of git may take: that of a large repository on a slow disk takes seconds."""
PIECE_SECONDS = 120.0
"""How long git may take to send the next piece of an object."""
_SETTINGS: Final = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.pager=cat", "gc.auto=0")
"""What a repository's configuration could otherwise make git run."""
_ENVIRONMENT: Final = {
    "GIT_NO_REPLACE_OBJECTS": "1",  # refs/replace would show another commit than the one that is named
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_NO_LAZY_FETCH": "1",  # a partial clone asks nobody
    "GIT_ALLOW_PROTOCOL": "none",  # nor does a Git that is too old for the line above
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "LC_ALL": "C",
}
_OF_ANOTHER_REPOSITORY: Final = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_INDEX_FILE", "GIT_SHALLOW_FILE", "GIT_NAMESPACE", "GIT_PREFIX",
)  # fmt: skip
"""Variables by which a hook or a shell says which repository is meant."""


class GitError(TsaError):
    """Git is not here, says that something is wrong, or has something else than what was asked for."""


class Repository:
    """A Git repository, by a folder in it; None: the one that git finds from here, by GIT_DIR where that is set."""

    def __init__(self, folder: str | None = None) -> None:
        program = shutil.which("git")
        if program is None:
            raise GitError("there is no program git on this machine")
        self._program = program
        self._folder = "." if folder is None else folder
        if not Path(self._folder).is_dir():
            raise GitError(f"{folder} is no folder")
        self._environ = {**os.environ, **_ENVIRONMENT}
        if folder is not None:
            for name in _OF_ANOTHER_REPOSITORY:
                self._environ.pop(name, None)
        self.run("rev-parse", "--git-dir")

    def _command(self, words: tuple[str, ...]) -> list[str]:
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        return [self._program, "--no-pager", "-C", self._folder, *settings, *words]

    def _end(
        self, words: tuple[str, ...], data: bytes = b"", environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run git to its end; raises GitError when it takes too long."""
        try:
            return subprocess.run(  # noqa: S603 - no shell; what is not fixed is an identifier or stands behind --end-of-options
                self._command(words),
                env=environ or self._environ,
                input=data,
                capture_output=True,
                check=False,
                timeout=MAX_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise GitError(f"git {words[0]} did not end within {MAX_SECONDS:g} seconds") from None

    def run(self, *words: str, data: bytes = b"", identity: bool = False) -> bytes:
        """Return what git prints; raises GitError. With `identity`, a name for new commits is there in any case."""
        environ = dict(self._environ)
        if identity:
            for role in ("AUTHOR", "COMMITTER"):
                if self._end(("var", f"GIT_{role}_IDENT")).returncode:
                    environ |= {f"GIT_{role}_NAME": "timestamp-cli", f"GIT_{role}_EMAIL": "timestamp-cli@localhost"}
        done = self._end(words, data, environ)
        if done.returncode:
            said = " ".join(done.stderr.decode("utf-8", "replace").split()) or f"it ended with {done.returncode}"
            raise GitError(f"git {words[0]}: {said[:300]}")
        if len(done.stdout) > _MAX_OUTPUT:
            raise GitError(f"git {words[0]} printed more than {_MAX_OUTPUT} bytes")
        return done.stdout

    def identifier(self, revision: str) -> str:
        """Return the identifier of the commit or tag object that a revision names; raises GitError."""
        if revision.startswith("-") or "\0" in revision:
            raise GitError(f"{revision!r} is no revision")
        found = self.run("rev-parse", "--verify", "--end-of-options", f"{revision}^{{object}}").decode().strip()
        if not _IDENTIFIER.fullmatch(found):
            raise GitError(f"{revision!r:.80} names no object")
        return found

    def commits(self, range_: str) -> list[str]:
        """Return the commits of a range such as v1.0..HEAD, newest first, or the one that a revision names.

        Raises GitError, also for a range that holds none.
        """
        if range_.startswith("-") or "\0" in range_:
            raise GitError(f"{range_!r} is no revision and no range")
        if ".." not in range_:
            return [self.identifier(range_)]
        found = self.run("rev-list", "--end-of-options", range_).decode().split()
        if not found:
            raise GitError(f"{range_!r:.80} names no commit")
        return [each for each in found if _IDENTIFIER.fullmatch(each)]

    @property
    def is_shallow(self) -> bool:
        """Whether the history is cut off, so that a range may be incomplete."""
        return self.run("rev-parse", "--is-shallow-repository").strip() == b"true"

    @contextmanager
    def objects(self) -> Iterator[Objects]:
        """Open a process that returns objects, for many of them."""
        with subprocess.Popen(  # noqa: S603 - fixed words
            self._command(("cat-file", "--batch")),
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        ) as process:
            assert process.stdin is not None  # noqa: S101 - a pipe was asked for
            assert process.stdout is not None  # noqa: S101
            try:
                with selectors.DefaultSelector() as selector:
                    selector.register(process.stdout, selectors.EVENT_READ)
                    yield Objects(process.stdin, process.stdout, selector)
            finally:
                process.kill()


class Objects:
    """Reads objects in pieces from `git cat-file --batch`."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes], selector: selectors.BaseSelector) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._selector = selector
        self._read = bytearray()

    def pieces(self, identifier: str) -> tuple[str, Iterator[bytes]]:
        """Return the type of an object and its content in pieces, all of which must be taken; raises GitError."""
        with suppress(BrokenPipeError):  # git has ended, and there is no line
            self._stdin.write(identifier.encode() + b"\n")
        words = self._line().split()
        if not words:
            raise GitError("git cat-file has ended")
        if len(words) != 3 or words[0] != identifier.encode():
            raise GitError(f"the object {identifier[:64]} is missing; a clone that is not complete does not do")
        return words[1].decode(), self._content(int(words[2]))

    def _line(self) -> bytes:
        """Return the next line, or its beginning where it is too long or git ends."""
        while (end := self._read.find(b"\n")) < 0 and len(self._read) < _MAX_LINE_OCTETS and self._fill():
            pass
        return self._take(_MAX_LINE_OCTETS if end < 0 else end + 1)

    def _content(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._read and not self._fill():
                raise GitError("git ended in the middle of an object")
            piece = self._take(size)
            size -= len(piece)
            yield piece
        if self._read or self._fill():
            self._take(1)

    def _take(self, size: int) -> bytes:
        piece = bytes(self._read[:size])
        del self._read[:size]
        return piece

    def _fill(self) -> bool:
        """Read what there is, and say whether there was something; raises GitError when git sends nothing for long."""
        if not self._selector.select(PIECE_SECONDS):
            raise GitError(f"git cat-file sent nothing for {PIECE_SECONDS:g} seconds")
        piece = self._stdout.read(_PIECE)
        self._read += piece
        return bool(piece)
