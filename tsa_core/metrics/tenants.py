"""Which tenants have a series of their own in the metrics: the first ones, as many as the settings allow.

All processes of a server show the same tenants, so a tenant's count is in one series: the names are in a file of the
directory that they share. It is read when a process sees a tenant for the first time, and no more once it is full.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path

log = logging.getLogger(__name__)

OTHER = "other"
"""What stands for all tenants beyond the limit."""
NONE = "none"
"""What stands for requests of nobody, or of somebody without a tenant."""
_NAME = "tenants.jsonl"


class TenantNames:
    """The label of each tenant; at most `limit` of them, OTHER and NONE, which no tenant's name can take.

    `directory` returns where processes share metrics, None for a process by itself.
    """

    def __init__(self, limit: int, directory: Callable[[], Path | None]) -> None:
        self._limit = limit
        self._directory = directory
        self._labels = {"": NONE}

    def label(self, tenant: str) -> str:
        """Return the label under which a tenant's requests are counted."""
        known = self._labels.get(tenant)
        return known if known is not None else self._find(tenant)

    def _find(self, tenant: str) -> str:
        for each in self._noted(tenant) if len(self._labels) <= self._limit else ():
            if len(self._labels) <= self._limit:
                self._labels[each] = f"tenant {each}" if each in {OTHER, NONE} else each
        return self._labels.get(tenant, OTHER)

    def _noted(self, tenant: str) -> list[str]:
        """Return the tenants that all processes show, this one included when there is room."""
        shared = self._directory()
        if shared is None:
            return [tenant]
        try:
            descriptor = os.open(shared / _NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "r+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                return self._note(tenant, file)
        except OSError as error:  # a full disk, for example: no request fails for that
            log.debug("tenants of metrics are this process's own: %s", error)
            return [tenant]

    def _note(self, tenant: str, file: FileIO) -> list[str]:
        data = file.read()
        names = list(_names(data))
        if tenant not in names and len(names) < self._limit:
            # Behind a line that found no room for its end, a new one begins.
            line = (b"\n" if data and not data.endswith(b"\n") else b"") + json.dumps(tenant).encode() + b"\n"
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            names.append(tenant)
        return names[: self._limit]


def _names(data: bytes) -> Iterator[str]:
    """Yield the names in a file's lines; one that is damaged is nobody's."""
    for line in data.split(b"\n")[:-1]:
        with suppress(ValueError):
            name = json.loads(line)
            if isinstance(name, str):
                yield name
