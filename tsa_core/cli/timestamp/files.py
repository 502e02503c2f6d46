"""Files of timestamp-cli: `-` for the standard streams, limits, timestamps that are not overwritten, progress."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final

from tsa_core.cli.console import has_rich
from tsa_core.cli.mistake import UsageMistake

MAX_FILE_OCTETS: Final = 64 << 20
"""Of everything but artifacts: replies, certificates, CRLs."""
PROGRESS_OCTETS: Final = 64 << 20
"""Artifacts from this size on get a progress bar; smaller ones are hashed in a moment."""
STANDARD: Final = "-"


def read_file(name: str, limit: int = MAX_FILE_OCTETS) -> bytes:
    """Return what is in a file of at most `limit` octets or on standard input; raises UsageMistake."""
    try:
        if name == STANDARD:
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with open(name, "rb") as file:  # noqa: PTH123 - pathlib takes 3 ms of every command
                data = file.read(limit + 1)
    except OSError as error:
        raise UsageMistake(f"{name} cannot be read: {error.strerror}") from None
    if len(data) > limit:
        raise UsageMistake(f"{name} is too large")
    return data


def beginning_of(name: str | None, octets: int) -> bytes:
    """Return how a file begins; nothing for standard input and for a pipe, from which it could be read only once."""
    if name is None or name == STANDARD:
        return b""
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):  # noqa: PTH116 - pathlib takes 3 ms of every command
            return b""
        with open(name, "rb") as file:  # noqa: PTH123 - as above
            return file.read(octets)
    except (OSError, ValueError):
        return b""  # told by whoever reads it


def read_timestamp(name: str) -> bytes:
    """Return the reply or bare token in a file, also where that is PEM; raises UsageMistake."""
    data = read_file(name)
    if data.lstrip()[:10] != b"-----BEGIN":
        return data
    from tsa_core.cli.timestamp.tokens import without_armor

    return without_armor(data)


def write_timestamp(name: str, data: bytes, *, force: bool) -> None:
    """Write a timestamp to a file with the umask's mode, or to standard output; raises UsageMistake.

    A file that is there, unless it is empty, is replaced only with `force`, and stays as it is when the new one cannot
    be written.
    """
    try:
        if name == STANDARD:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        if not _holds_something(name):
            # In place: it may be a device, a pipe, a link, or an empty file that a container shows as its own.
            is_new = not os.path.lexists(name)
            mode = "xb" if is_new else "wb"
            with open(name, mode) as file, _removed_unless_whole(name if is_new else None):  # noqa: PTH123 - as above
                file.write(data)
                file.flush()
            return
        if not force:
            refuse_existing(name)
        from tsa_core.cli.timestamp.whole_file import write_whole

        write_whole(os.path.realpath(name), data, replace=True)
    except OSError as error:
        raise UsageMistake(f"{name} cannot be written: {error.strerror}") from None


def refuse_existing(name: str) -> None:
    """Raise UsageMistake for a file that holds something; devices, pipes and empty files do not count."""
    if _holds_something(name):
        raise UsageMistake(f"{name} is there already, and an older timestamp may be worth more; --force replaces it")


@contextmanager
def _removed_unless_whole(name: str | None) -> Iterator[None]:
    """Remove a file of ours that could not be written: what is left of it would be taken for an older timestamp."""
    try:
        yield
    except OSError:
        if name is not None:
            with suppress(OSError):
                os.unlink(name)  # noqa: PTH108 - as above
        raise


def _holds_something(name: str) -> bool:
    try:
        status = os.stat(name)  # noqa: PTH116 - as above
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_size)


@contextmanager
def open_artifact(name: str) -> Iterator[BinaryIO]:
    """Open an artifact for hashing, with a progress bar on stderr if it is large and a person may be watching."""
    if name == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        file = open(name, "rb")  # noqa: PTH123, SIM115 - as above; closed below, where reading errors do not look like ours
    except OSError as error:
        raise UsageMistake(f"{name} cannot be read: {error.strerror}") from None
    with file:
        size = os.fstat(file.fileno()).st_size
        if size < PROGRESS_OCTETS or not sys.stderr.isatty() or not has_rich():
            yield file
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("hashing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        progress = Progress(*columns, console=Console(stderr=True), transient=True)
        with progress, progress.wrap_file(file, total=size) as watched:
            yield watched


def reading_errors(name: str, error: OSError | io.UnsupportedOperation) -> UsageMistake:
    """Return the usage error for a file that failed while it was read, a folder for example."""
    return UsageMistake(f"{name} cannot be read: {error.strerror or error}")


def parse_digest(text: str) -> tuple[str | None, bytes]:
    """Return the hash's name, if it is written before a colon, and the digest."""
    name, colon, digits = text.rpartition(":")
    try:
        return (name if colon else None), bytes.fromhex(digits)
    except ValueError:
        raise UsageMistake("--digest is not hexadecimal") from None
