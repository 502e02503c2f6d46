"""Where the timestamps of a run go, and where those of earlier runs are found."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tsa_core.cli.timestamp.files import MAX_FILE_OCTETS
from tsa_core.cli.timestamp.many.item import Item
from tsa_core.cli.timestamp.many.places import base_of, write_new
from tsa_core.cli.timestamp.many.reading import read_whole


class Store(ABC):
    """Keeps the timestamp of each file under the file's name; used from many threads."""

    @abstractmethod
    def location(self, item: Item) -> str:
        """Return where the timestamp of a file is, for messages and for manifests."""

    @abstractmethod
    def find(self, item: Item) -> bytes | None:
        """Return what is there, None for nothing; raises OSError when it cannot be read."""

    @abstractmethod
    def put(self, item: Item, data: bytes, *, digest: str) -> None:
        """Keep a timestamp or an evidence record, which is of `digest` (`NAME:HEX`).

        Raises FileExistsError when another run was quicker, and OSError.
        """


class FileStore(Store):
    """A file for each timestamp, beside its file or in a directory; `force` replaces what is there."""

    def __init__(self, *, out_dir: str | None, suffix: str, force: bool) -> None:
        self._out_dir = out_dir
        self._suffix = suffix
        self._force = force

    def location(self, item: Item) -> str:
        """Return the file's name."""
        return f"{base_of(item.name, self._out_dir)}.{self._suffix}"

    def find(self, item: Item) -> bytes | None:
        """Return what is in the file, whatever it is; None for an empty one."""
        try:
            return read_whole(self.location(item), MAX_FILE_OCTETS) or None
        except FileNotFoundError:
            return None

    def put(self, item: Item, data: bytes, *, digest: str) -> None:  # noqa: ARG002 - which the token holds
        """Write it into the file."""
        write_new(self.location(item), data, replace=self._force)
