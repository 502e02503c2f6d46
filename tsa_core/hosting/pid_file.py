"""The pid file, by which `timestamp-server reload` finds the server and gets the result of the reload.

The file contains the process id and nothing else, as systemd and `kill $(cat FILE)` expect it. The server locks it as
long as it runs, so a stale file, whose process id another process may have now, is recognised. FILE.reload contains the
result of the last reload, as JSON.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import stat
from math import inf
from pathlib import Path
from typing import IO

from tsa_core.api import ConfigError, UnavailableError, cannot_write
from tsa_core.values import Value

log = logging.getLogger(__name__)

_MAX_OCTETS = 65_536


class ReloadReport(Value):
    """The result of reload `number` of process `pid`; number 0 is the start.

    `began` is when it began to read, by time.monotonic(), which all processes of a machine share: whoever asked later
    than that is not meant. A server that does not say so tells of whatever was asked for.
    """

    pid: int
    number: int
    succeeded: bool
    message: str
    began: float = inf


def _report_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.reload")


class PidFile:
    """The running server's side; raises ConfigError when the file cannot be written or another server holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0
        try:
            self._stream: IO[str] = os.fdopen(
                _open(path, os.O_RDWR | os.O_CREAT), "r+", encoding="ascii", errors="replace"
            )
        except OSError as error:
            raise cannot_write(
                f"the pid file {path} cannot be written: {_reason(error)}", error, path="server.pid_file"
            ) from None
        try:
            fcntl.lockf(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._stream.close()
            raise UnavailableError(
                f"another server that runs uses the pid file {path}; give this one another", path="server.pid_file"
            ) from None
        self._stream.seek(0)
        if self._stream.read(_MAX_OCTETS).strip("0123456789\n"):
            self._stream.close()
            raise ConfigError(
                f"{path} holds something else than a process id; writing the pid file there would destroy it",
                path="server.pid_file",
            )
        self._owner = os.getpid()
        self._stream.seek(0)
        self._stream.truncate()
        self._stream.write(f"{self._owner}\n")
        try:
            self._stream.flush()
            self._write_report(ReloadReport(pid=self._owner, number=0, succeeded=True, message="started"))
        except OSError as error:
            with contextlib.suppress(OSError):  # it fails for the same reason
                self._stream.close()
            raise cannot_write(
                f"{path} or a file beside it cannot be written: {error.strerror}", error, path="server.pid_file"
            ) from None

    def report(self, *, succeeded: bool, message: str, began: float) -> None:
        """Write the result of a reload that began at `began`, by time.monotonic()."""
        self._number += 1
        report = ReloadReport(pid=self._owner, number=self._number, succeeded=succeeded, message=message, began=began)
        try:
            self._write_report(report)
        except OSError as error:
            # The reload itself is complete, with either result.
            log.warning("nobody can be told what became of the reload: %s", error)

    def _write_report(self, report: ReloadReport) -> None:
        path = _report_path(self._path)
        known = {name: value for name, value in vars(report).items() if value != inf}
        new = path.with_name(f"{path.name}.new")
        # Made anew each time: what is there may be a link to somebody's file, or belong to somebody.
        new.unlink(missing_ok=True)
        with os.fdopen(_open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w", encoding="utf-8") as stream:
            stream.write(json.dumps(known))
        new.replace(path)

    def close(self) -> None:
        """Remove the files; in a process forked from the server, leave them."""
        if os.getpid() == self._owner and not self._stream.closed:
            _report_path(self._path).unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
        self._stream.close()


def running_server(path: Path) -> int:
    """Return the process id of the server that holds a pid file; raises ConfigError when none does."""
    try:
        with os.fdopen(_open(path, os.O_RDONLY), encoding="ascii") as stream:
            text = stream.read(32).strip()
            try:
                fcntl.lockf(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                if text.isdecimal():
                    return int(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = _reason(error) if isinstance(error, OSError) else "it is no pid file"
        raise ConfigError(f"{path}: the pid file cannot be read: {reason}; is the server running?") from None
    raise ConfigError(f"{path}: no server that runs holds this pid file")


def last_report(path: Path) -> ReloadReport | None:
    """Return the result of the last reload of the server that holds the pid file `path`."""
    try:
        with os.fdopen(_open(_report_path(path), os.O_RDONLY), "rb") as stream:
            return ReloadReport(**json.loads(stream.read(_MAX_OCTETS)))
    except (OSError, ValueError, TypeError):
        return None


def _open(path: Path, flags: int) -> int:
    """Open a regular file, and no other: not through a symbolic link, and no FIFO. Raises OSError.

    A server that root starts would else write into whatever file a link names that another user has put there.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return descriptor


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "it is a symbolic link; remove it, or name the file itself"
    return error.strerror or str(error)
