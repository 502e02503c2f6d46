"""Where `verify` finds the timestamps of files: beside them, in a directory, by a manifest, in a bundle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from tsa_core.cli.timestamp.files import MAX_FILE_OCTETS
from tsa_core.cli.timestamp.many.bundle import Bundle
from tsa_core.cli.timestamp.many.item import Item
from tsa_core.cli.timestamp.many.manifest import Listed
from tsa_core.cli.timestamp.many.places import base_of
from tsa_core.cli.timestamp.many.proofs import SUFFIXES, is_proof
from tsa_core.cli.timestamp.many.reading import read_whole
from tsa_core.cli.timestamp.tokens import without_armor


class Found(NamedTuple):
    """A timestamp, or an evidence record; `digest` is what it must be of besides, `NAME:HEX`, empty for anything."""

    location: str
    data: bytes
    digest: str = ""


class Finder(ABC):
    """Finds the timestamp of each file."""

    @abstractmethod
    def find(self, item: Item) -> Found:
        """Return a file's timestamp; raises LookupError, which says where it is missing, and OSError."""

    def items(self) -> list[Item]:
        """Return all files that it knows, for when none were named."""
        return []


class FileFinder(Finder):
    """Looks for files with the endings of timestamps, beside the files or in a directory."""

    def __init__(self, out_dir: str | None) -> None:
        self._out_dir = out_dir

    def find(self, item: Item) -> Found:
        """Return the first that is there and is a proof, or else the first that is there, for its verdict."""
        base = base_of(item.name, self._out_dir)
        found = []
        for suffix in SUFFIXES:
            with suppress(FileNotFoundError):
                found.append(read_found(base + suffix))
        if found:
            return found[0] if len(found) == 1 else next((each for each in found if is_proof(each.data)), found[0])
        raise LookupError(f"none of {', '.join(base + suffix for suffix in SUFFIXES)} is there")


class ManifestFinder(Finder):
    """Reads what a manifest names."""

    def __init__(self, name: str, listed: Iterable[Listed]) -> None:
        self._name = name
        self._listed = {each.name: each for each in listed}

    def find(self, item: Item) -> Found:
        """Return what is at the place that the manifest names."""
        listed = self._listed.get(item.name)
        if listed is None:
            raise LookupError(f"the manifest {self._name} does not list it")
        try:
            return read_found(listed.location)._replace(digest=listed.digest)
        except FileNotFoundError:
            raise LookupError(f"{listed.location}, which the manifest names, is not there") from None

    def items(self) -> list[Item]:
        """Return all files in the manifest."""
        return [Item(name=name) for name in self._listed]


class BundleFinder(Finder):
    """Takes them out of a bundle."""

    def __init__(self, name: str, bundle: Bundle) -> None:
        self._name = name
        self._entries = bundle.entries

    def find(self, item: Item) -> Found:
        """Return what is in the bundle."""
        entry = self._entries.get(item.name)
        if entry is None:
            raise LookupError(f"the bundle {self._name} has none")
        return Found(self._name, entry.token, entry.digest)

    def items(self) -> list[Item]:
        """Return all files in the bundle."""
        return [Item(name=name) for name in self._entries]


def read_found(location: str) -> Found:
    """Return what is in a file; raises OSError."""
    return Found(location, without_armor(read_whole(location, MAX_FILE_OCTETS)))
