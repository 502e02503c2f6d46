"""Writes files that must not be half written, nor be readable by others for a moment."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tsa_core.api import ConfigError

_DEVICES = Path("/dev")


def write_file(path: Path, data: bytes, *, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Write a file whole or not at all, with exactly this mode; raises ConfigError when it cannot be written.

    A file of that name is replaced; a server that reads meanwhile sees the old one or the new one. `owner` is a user's
    and a group's number; the file has them before it takes its place.
    """
    write_files([(path, data)], mode=mode, owner=owner)


def write_files(
    files: Sequence[tuple[Path, bytes]], *, mode: int = 0o600, owner: tuple[int, int] | None = None, new: bool = False
) -> None:
    """Write all of the files or none, each as `write_file` does; raises ConfigError, which names the one at fault.

    When one cannot take its place, those before it are put back as they were. With `new`, none takes the place of a
    file that is there, also of one that another process has just written.
    """
    with ExitStack() as stack:
        staged = [(path, _staged(path, data, mode, owner, stack)) for path, data in files]
        former = [(path, _second_name(path, stack)) for path, _ in staged] if len(staged) > 1 else []
        placed: list[Path] = []
        try:
            for path, temporary in staged:
                with _named(path):
                    _place(temporary, path, new=new)
                placed.append(path)
        except ConfigError:
            for path, kept in former[: len(placed)]:
                if kept is None:
                    path.unlink(missing_ok=True)
                else:
                    kept.replace(path)
            raise


def _staged(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None, stack: ExitStack) -> Path:
    """Return a file beside `path` that holds the data; the stack removes what is left of it."""
    with _named(path):
        # /dev/stdout is a link to a file where it is redirected, and must stay one.
        if (path.exists() and not path.is_file()) or path.parent.resolve() == _DEVICES:
            raise ConfigError("this is a pipe, a device or a folder, and no file that can be replaced", path=str(path))
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        stack.callback(Path(name).unlink, missing_ok=True)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            if owner is not None:
                os.fchown(stream.fileno(), *owner)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
    return Path(name)


def _place(temporary: Path, path: Path, *, new: bool) -> None:
    if not new:
        temporary.replace(path)
        return
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise ConfigError("it exists already, and is not written over", path=str(path)) from None
    except OSError:  # a file system without links
        if path.exists():
            raise ConfigError("it exists already, and is not written over", path=str(path)) from None
        temporary.replace(path)


def _second_name(path: Path, stack: ExitStack) -> Path | None:
    """Return a second name of the file that is there, or a copy, None when none is; the stack removes it."""
    with _named(path):
        folder = tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.")
        stack.callback(Path(folder).rmdir)
        kept = Path(folder, "former")
        stack.callback(kept.unlink, missing_ok=True)
        try:
            kept.hardlink_to(path)
        except FileNotFoundError:
            return None
        except OSError:  # a file of somebody else's, or a file system without links
            shutil.copy2(path, kept)
    return kept


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn an OSError into a ConfigError that names the file."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"the file cannot be written: {error.strerror}", path=str(path)) from None
