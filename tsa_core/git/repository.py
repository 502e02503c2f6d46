"""Runs the program git: fixed commands, identifiers as arguments, and nothing that a repository can configure."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from tsa_core.protocol.errors import TsaError

_IDENTIFIER: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_OUTPUT: Final = 256 << 20
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


class GitError(TsaError):
    """Git is not here, says that something is wrong, or has something else than what was asked for."""


class Repository:
    """A Git repository, by a folder in it."""

    def __init__(self, folder: str = ".") -> None:
        program = shutil.which("git")
        if program is None:
            raise GitError("there is no program git on this machine")
        self._program = program
        self._folder = folder
        if not Path(folder).is_dir():
            raise GitError(f"{folder} is no folder")
        self.run("rev-parse", "--git-dir")

    def _command(self, words: tuple[str, ...]) -> list[str]:
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        return [self._program, "--no-pager", "-C", self._folder, *settings, *words]

    def run(self, *words: str, data: bytes = b"", identity: bool = False) -> bytes:
        """Return what git prints; raises GitError. With `identity`, a name for new commits is there in any case."""
        environ = {**os.environ, **_ENVIRONMENT}
        if identity:
            for role in ("AUTHOR", "COMMITTER"):
                if subprocess.run(  # noqa: S603 - fixed words
                    self._command(("var", f"GIT_{role}_IDENT")), env=environ, capture_output=True, check=False
                ).returncode:
                    environ |= {f"GIT_{role}_NAME": "timestamp-cli", f"GIT_{role}_EMAIL": "timestamp-cli@localhost"}
        done = subprocess.run(  # noqa: S603 - no shell; what is not fixed is an identifier or stands behind --end-of-options
            self._command(words), env=environ, input=data, capture_output=True, check=False
        )
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
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdin is not None  # noqa: S101 - a pipe was asked for
            assert process.stdout is not None  # noqa: S101
            try:
                yield Objects(process.stdin, process.stdout)
            finally:
                process.stdin.close()
                process.kill()


class Objects:
    """Reads objects in pieces from `git cat-file --batch`."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._stdin = stdin
        self._stdout = stdout

    def pieces(self, identifier: str) -> tuple[str, Iterator[bytes]]:
        """Return the type of an object and its content in pieces, all of which must be taken; raises GitError."""
        self._stdin.write(identifier.encode() + b"\n")
        self._stdin.flush()
        words = self._stdout.readline().split()
        if len(words) != 3 or words[0] != identifier.encode():
            raise GitError(f"the object {identifier[:64]} is missing; a clone that is not complete does not do")
        return words[1].decode(), self._content(int(words[2]))

    def _content(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._stdout.read(min(size, 1 << 20))
            if not piece:
                raise GitError("git ended in the middle of an object")
            size -= len(piece)
            yield piece
        self._stdout.read(1)
