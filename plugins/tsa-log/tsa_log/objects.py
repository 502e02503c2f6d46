"""A log's public files as objects in a bucket, whose store serves them as they are.

An object is written on a condition: that there is none yet, or that it is still what this writer has seen last. So no
two writers replace one another's objects without noticing, and a request that was repeated, or whose answer was lost,
does nothing twice.
"""

from __future__ import annotations

import errno
import hashlib
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Final, NamedTuple, TypeVar

from tsa_core.api import SignerUnavailable, within_deadline
from tsa_log.bounded_calls import BoundedCalls
from tsa_log.storage import Conflict, LogFile, ServedAs, Storage, served_as

T = TypeVar("T")

_MOST_CHANGING: Final = 8
_MOST_TILES: Final = 512
_MOST_WRITTEN: Final = 4096
MAX_OCTETS: Final = 32 << 20
"""No object of a log is larger: a bundle has at most 16 MiB."""


class StoreError(OSError):
    """The store refused, and would refuse again: the text says what to do."""


class StoreUnavailable(SignerUnavailable):
    """The store could not be reached, or has too much to do. The base is what `within_deadline` tries again after."""


class Changed(Exception):
    """The condition of a write is not met: the object is there, is not, or is another one."""


class Stored(NamedTuple):
    """An object, and what the store calls this content of it: S3's ETag, Google's generation."""

    data: bytes
    tag: str


class Bucket(ABC):
    """The objects below one prefix. Every method makes one try, and is thread-safe.

    All raise StoreError, and StoreUnavailable where trying again may help.
    """

    where: str
    """Its URL, for messages."""

    @abstractmethod
    def get(self, path: str) -> Stored | None:
        """Return an object, None when there is none."""

    @abstractmethod
    def put(self, path: str, data: bytes, served: ServedAs, tag: str | None) -> str:
        """Store an object if it still has this tag, or with None if there is none; return its new tag.

        Raises Changed when it has another one.
        """

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove an object, if it is there."""

    wrong_tag: str
    """A tag that no object has, in the form of one."""

    @abstractmethod
    def close(self) -> None:
        """Close connections."""


class ObjectStorage(Storage):
    """Files in a bucket; each method ends within `seconds`, however often requests are repeated."""

    def __init__(self, bucket: Bucket, *, seconds: float) -> None:
        self.where = bucket.where
        self.requests = 0
        """How many were made, for measurements."""
        self._bucket = bucket
        self._seconds = seconds
        self._calls = BoundedCalls()
        self._lock = threading.Lock()
        self._changing: OrderedDict[str, Stored] = OrderedDict()
        self._tiles: OrderedDict[str, bytes] = OrderedDict()
        self._written: OrderedDict[str, bytes] = OrderedDict()
        """What was written of files that never change, as hashes: a batch that takes longer goes on where it was."""

    def read(self, path: str) -> bytes:
        """Return a file. Tiles of hashes are remembered: each witness asks for the same few."""
        with self._lock:
            if (known := self._tiles.get(path)) is not None:
                self._tiles.move_to_end(path)
                return known
        found = self._one(partial(self._get, path), self._seconds)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "there is no such object", f"{self.where}/{path}")
        self._remember(path, found.data)
        return found.data

    def write(self, path: str, data: bytes) -> None:
        """Store a file that never changes; raises Conflict when there is another one of its name."""
        self.write_all([LogFile(path, data)])

    def write_all(self, files: Sequence[LogFile]) -> None:
        """Store files that never change, several at once."""
        self._run([partial(self._store, file) for file in files], self._seconds)

    def _store(self, file: LogFile, left: float) -> None:
        digest = hashlib.sha256(file.data).digest()
        with self._lock:
            if self._written.get(file.path) == digest:
                return
        try:
            self._put(file.path, file.data, None, left)
        except Changed:
            found = self._get(file.path, left)
            if found is None or found.data != file.data:
                raise Conflict(
                    f"{self.where}/{file.path} is there already, with other content: another server wrote it"
                ) from None
        self._remember(file.path, file.data)
        with self._lock:
            self._written[file.path] = digest
            if len(self._written) > _MOST_WRITTEN:
                self._written.popitem(last=False)

    def _remember(self, path: str, data: bytes) -> None:
        if not path.startswith("tile/") or path.startswith("tile/entries/"):
            return
        with self._lock:
            self._tiles[path] = data
            if len(self._tiles) > _MOST_TILES:
                self._tiles.popitem(last=False)

    def update(self, path: str, change: Callable[[bytes | None], bytes]) -> None:
        """Replace a file, if it still is what was seen last; else `change` looks at it again."""
        deadline = monotonic() + self._seconds

        def left() -> float:
            if (seconds := deadline - monotonic()) <= 0:
                raise StoreError(f"{self.where}/{path}: no answer within {self._seconds:g} s")
            return seconds

        known = self._changing.get(path) or self._one(partial(self._get, path), left())
        while True:
            after = change(None if known is None else known.data)
            if known is not None and known.data == after:
                break
            tag = None if known is None else known.tag
            try:
                new = self._one(partial(self._put, path, after, tag), left())
            except Changed:
                known = self._one(partial(self._get, path), left())
                continue
            known = Stored(after, new)
            break
        self._changing[path] = known
        self._changing.move_to_end(path)
        if len(self._changing) > _MOST_CHANGING:
            self._changing.popitem(last=False)

    def prove_conditions(self, path: str) -> None:
        """Look whether the store heeds conditions, on a file that is there; raises Conflict when it does not.

        Should it not, the file is replaced by itself.
        """
        known = self._one(partial(self._get, path), self._seconds)
        if known is None:
            raise Conflict(f"{self.where}/{path} was there, and is not there any more")
        for name, tag in (("If-None-Match", None), ("If-Match", self._bucket.wrong_tag)):
            try:
                self._one(partial(self._put, path, known.data, tag), self._seconds)
            except Changed:
                continue
            raise Conflict(
                f"the store of {self.where} does not heed {name}: two servers could fork the log unnoticed; "
                "use one that has conditional writes"
            )

    def delete(self, path: str) -> None:
        """Remove a file, if it is there."""
        self._one(partial(self._delete, path), self._seconds)

    def close(self) -> None:
        """Close connections."""
        self._bucket.close()

    # -- requests -----------------------------------------------------------------------------------------------

    def _get(self, path: str, seconds: float) -> Stored | None:
        return self._ask(lambda: self._bucket.get(path), seconds)

    def _put(self, path: str, data: bytes, tag: str | None, seconds: float) -> str:
        return self._ask(lambda: self._bucket.put(path, data, served_as(path), tag), seconds)

    def _delete(self, path: str, seconds: float) -> None:
        self._ask(lambda: self._bucket.delete(path), seconds)

    def _ask(self, request: Callable[[], T], seconds: float) -> T:
        def count_and_ask(_left: float) -> T:
            with self._lock:
                self.requests += 1
            return request()

        return within_deadline(count_and_ask, timeout=seconds)

    def _one(self, call: Callable[[float], T], seconds: float) -> T:
        return self._run([call], seconds)[0]

    def _run(self, calls: Sequence[Callable[[float], T]], seconds: float) -> list[T]:
        try:
            return self._calls.run(calls, seconds=seconds)
        except SignerUnavailable as error:
            raise StoreError(str(error)) from None
        except TimeoutError as error:
            raise StoreError(f"{self.where}: {error}") from None
