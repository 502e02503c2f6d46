"""Logs whose public files are in a bucket."""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tsa_backends.http_relay import HttpRelay, Matches, Relayed
from tsa_log.objects import Bucket, Changed, ObjectStorage, Stored
from tsa_log.opening import open_bucket
from tsa_log.options import LogOptions
from tsa_log.storage import ServedAs

from .logs import Crash, Log, entries_of, options


class Place:
    """A prefix in a bucket; `relay` stands between it and whoever uses `settings`."""

    def __init__(self, scheme: str, bucket: str, relay: HttpRelay) -> None:
        self.scheme = scheme
        self.relay = relay
        self.bucket = bucket
        prefix = f"log-{os.urandom(6).hex()}"
        self.url = f"{scheme}://{bucket}/{prefix}"
        self.public = f"{relay.address}/{bucket}/{prefix}"
        """Where the files are for everybody."""

    def other(self) -> Place:
        """Return another prefix in the same bucket."""
        return Place(self.scheme, self.bucket, self.relay)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The part of [audit.tokenlog] that leads to it."""
        reached = (
            {"s3": {"endpoint_url": self.relay.address}}
            if self.scheme == "s3"
            else {"gcs": {"endpoint": self.relay.address}}
        )
        return {"storage": self.url, **reached}

    def options(self, directory: Path, **more: Any) -> LogOptions:
        """Return [audit.tokenlog]."""
        return options(directory, **self.settings, **more)

    def open_bucket(self, *, seconds: float = 20) -> Bucket:
        """Return the bucket, as a server has it."""
        made = self.options(Path("/nonexistent"), storage_timeout=f"{int(seconds * 1000)}ms")
        assert made.place is not None
        return open_bucket(made, made.place)

    def open(self, *, seconds: float = 20) -> ObjectStorage:
        """Return the storage, as a server has it."""
        return ObjectStorage(self.open_bucket(seconds=seconds), seconds=seconds)

    def fetch(self, path: str) -> bytes:
        """Return a file as anybody gets it."""
        with urllib.request.urlopen(f"{self.public}/{path}", timeout=60) as reply:
            data: bytes = reply.read()
            return data

    def headers(self, path: str) -> Mapping[str, str]:
        """Return the headers with which everybody gets a file, by their names in lower case."""
        with urllib.request.urlopen(f"{self.public}/{path}", timeout=60) as reply:
            return {name.lower(): value for name, value in reply.headers.items()}

    def entries(self) -> list[bytes]:
        """Return all entries below the checkpoint; none where there is no checkpoint."""
        try:
            return entries_of(self.fetch)
        except urllib.error.HTTPError as error:
            error.close()
            return []

    def writer(self) -> Mapping[str, Any]:
        """Return who writes the log."""
        found: Mapping[str, Any] = json.loads(self.fetch("writer.json"))
        return found


class MemoryBucket(Bucket):
    """A bucket of this process alone, for tests that make very many requests."""

    where = "s3://memory/log"
    wrong_tag = "-1"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, Stored] = {}
        self._count = 0

    def fetch(self, path: str) -> bytes:
        return self._objects[path].data

    def paths(self) -> list[str]:
        with self._lock:
            return list(self._objects)

    def get(self, path: str) -> Stored | None:
        return self._objects.get(path)

    def put(self, path: str, data: bytes, served: ServedAs, tag: str | None) -> str:
        with self._lock:
            there = self._objects.get(path)
            if (there.tag if there else None) != tag:
                raise Changed
            self._count += 1
            self._objects[path] = Stored(data, str(self._count))
            return str(self._count)

    def delete(self, path: str) -> None:
        with self._lock:
            self._objects.pop(path, None)

    def close(self) -> None:
        """There is nothing to close."""


class CrashingBucket(Bucket):
    """Crashes before the write of a number, or after it; no later one is made."""

    def __init__(self, bucket: Bucket, left: int, *, after: bool) -> None:
        self.where, self.wrong_tag = bucket.where, bucket.wrong_tag
        self._bucket = bucket
        self._lock = threading.Lock()
        self._after = after
        self.left = left

    def get(self, path: str) -> Stored | None:
        return self._bucket.get(path)

    def put(self, path: str, data: bytes, served: ServedAs, tag: str | None) -> str:
        with self._lock:
            self.left -= 1
            if self.left < 0 or (self.left == 0 and not self._after):
                raise Crash
        new = self._bucket.put(path, data, served, tag)
        if self.left == 0:
            raise Crash
        return new

    def delete(self, path: str) -> None:
        raise AssertionError(path)

    def close(self) -> None:
        self._bucket.close()


def writes_of(name: str) -> Matches:
    """Match requests that store a file whose path has this in it."""

    def matches(request: Relayed) -> bool:
        # Google's client sends the name in the body.
        return request.writes and (name in request.path or f"/{name}".encode() in request.head)

    return matches


class BucketLog(Log[ObjectStorage]):
    """A log whose public files are in a bucket."""
