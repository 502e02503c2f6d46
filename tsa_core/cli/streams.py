"""The standard streams as a program finds them: of any encoding, full, closed, or a pipe that nobody reads."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

EXIT_OUTPUT = 2
"""The result could not be written; 1 would say that a timestamp does not hold."""

_OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE, errno.EIO, errno.EBADF}
"""What a stream that takes no more raises, without a file's name; files of ours are reported where they are written."""


def open_closed_descriptors() -> None:
    """Open the null device in place of each of the descriptors 0, 1 and 2 that is closed; every program's first act.

    Else the next file that the program opens gets the number, and what is meant for stderr is written into that file.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            # The system gives out the lowest number that is free.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", encoding="utf-8", closefd=False))  # noqa: SIM115 - it stays open until the program ends


class OutputError(Exception):
    """Standard output took no more; `quiet` when its reader went away, which is nobody's fault."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror or error}")
        self.quiet = error.errno == errno.EPIPE


@contextlib.contextmanager
def guarded_output() -> Iterator[None]:
    """Write what the encoding of stdout lacks as escapes, and raise OutputError for what could not be written."""
    output, messages = sys.stdout, sys.stderr
    for stream in (output, messages):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            if output is not None:
                output.flush()
    except SystemExit:
        # When its reader goes away, click ends a program by itself, and puts streams that fail silently in place.
        if sys.stdout is output:
            raise
        sys.stdout, sys.stderr = output, messages
        _discard_output()
        raise OutputError(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))) from None
    except OSError as error:
        if error.filename is not None or error.errno not in _OF_WRITING:
            raise
        _discard_output()
        raise OutputError(error) from None


def end_at_once(code: int) -> NoReturn:
    """End the process without freeing every object first, which takes a fifth of a short command.

    For programs that leave nothing to do: no thread that must end, no file that must be closed.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def is_unicode(stream: object) -> bool:
    """Say whether a stream can carry every character."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def _discard_output() -> None:
    """Let what stdout still holds go nowhere, so that the interpreter does not fail over it at its end."""
    with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
