"""The directory: where a token is, how it gets there in one piece, and how it is found.

serials/4f/2a/4f2a...91.tsr            the whole TimeStampResp, named by the serial number, 40 hex digits
digests/9f/86/9f86...08/4f2a...91.tsr  a link to it, in a folder named by the digest that was timestamped
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tsa_core.api import sync_folder

_SERIAL_DIGITS: Final = 40
_FILE_MODE: Final = 0o640
_DIRECTORY_MODE: Final = 0o750
_SUFFIX: Final = ".tsr"
_NAME: Final = re.compile(rf"[0-9a-f]{{{_SERIAL_DIGITS}}}\{_SUFFIX}")


class TokenStore:
    """Tokens in fan-out folders. Thread-safe, and so are several processes in one directory.

    Every method raises OSError as the system does.
    """

    def __init__(self, directory: Path, *, sync: bool = True) -> None:
        self.directory = directory
        self._sync = sync

    def serial_path(self, serial_number: int) -> Path:
        """Return where the token of a serial number is, or would be."""
        name = f"{serial_number:0{_SERIAL_DIGITS}x}"
        return self.directory / "serials" / name[:2] / name[2:4] / f"{name}{_SUFFIX}"

    def digest_folder(self, digest: bytes) -> Path:
        """Return the folder with the links to all tokens of a digest."""
        name = digest.hex()
        return self.directory / "digests" / name[:2] / name[2:4] / name

    def prepare(self) -> None:
        """Make the directory and prove that files can be made in it."""
        self._make_folder(self.directory)
        self.probe()

    def probe(self, size: int = 0) -> None:
        """Prove that a file of a size can be made in the directory: make it, and remove it."""
        path = self.directory / f".probe-{os.getpid()}-{threading.get_ident()}"
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # left behind by a process that was killed
        try:
            self._write(path, bytes(size))
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    def add(self, serial_number: int, digest: bytes, response: bytes) -> Path:
        """Keep a reply and return its path.

        It appears under its name whole or not at all: written and synced under another name in the same folder,
        then renamed. FileExistsError for a serial number that is there already.
        """
        path = self.serial_path(serial_number)
        self._make_folder(path.parent)
        if path.exists():
            raise FileExistsError(f"{path} exists already; a serial number was used twice")
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self._write(temporary, response)
            temporary.rename(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        self._sync_folder(path.parent)
        self._link(path, self.digest_folder(digest))
        return path

    def _link(self, path: Path, folder: Path) -> None:
        self._make_folder(folder)
        # A relative target, so that the archive can be moved as a whole.
        (folder / path.name).symlink_to(os.path.relpath(path, folder))
        self._sync_folder(folder)

    def _write(self, path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            if self._sync:
                os.fsync(descriptor)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder and those above it, each one durable before something is put into it."""
        if folder.is_dir():
            return
        if folder.parent != folder:
            self._make_folder(folder.parent)
        # Another thread or process may have been faster.
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=_DIRECTORY_MODE)
            self._sync_folder(folder.parent)

    def _sync_folder(self, folder: Path) -> None:
        if self._sync:
            sync_folder(folder)

    def find_serial(self, serial_number: int) -> Iterator[Path]:
        """Yield the path of a serial number's token, if it is there."""
        path = self.serial_path(serial_number)
        if path.is_file():
            yield path

    def find_digest(self, digest: bytes) -> Iterator[Path]:
        """Yield the paths of all tokens of a digest, by serial number."""
        folder = self.digest_folder(digest)
        if folder.is_dir():
            for name in sorted(link.name for link in folder.iterdir()):
                if _NAME.fullmatch(name):  # somebody else may have put other files there
                    yield from self.find_serial(int(name.removesuffix(_SUFFIX), 16))
