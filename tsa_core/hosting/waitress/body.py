"""The bodies of requests, in memory. waitress would write large ones to temporary files, which need a disk.

Each class is one of waitress's receivers: it takes octets until it is `completed` or has an `error`.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from io import BytesIO
from typing import Final

from tsa_core.hosting.http_rules import max_chunks
from tsa_core.hosting.waitress.refusals import Refusal

_MAX_SIZE_LINE: Final = 256
_MAX_TRAILER: Final = 4096
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


class _Body:
    """A body that is kept; waitress asks it for its stream and its length."""

    completed = False
    error: Refusal | None = None

    def __init__(self) -> None:
        self._stream = BytesIO()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def getfile(self) -> BytesIO:
        """Return the stream that the application reads."""
        return self._stream

    def getbuf(self) -> BytesIO:
        """Return what is closed in the end."""
        return self._stream

    def _keep(self, data: bytes | memoryview) -> None:
        self._stream.write(data)
        self._size += len(data)

    def _complete(self) -> None:
        self._stream.seek(0)
        self.completed = True


class FixedBody(_Body):
    """A body of a declared length. One longer than `limit` is not kept: the application refuses it unread."""

    def __init__(self, length: int, limit: float) -> None:
        super().__init__()
        self._left = length
        self._kept = length <= limit

    def received(self, data: bytes) -> int:
        """Take octets; returns how many of them belong to the body."""
        part = data if len(data) <= self._left else data[: self._left]
        if self._kept:
            self._keep(part)
        self._left -= len(part)
        if not self._left:
            self._complete()
        return len(part)


class WholeBody(_Body):
    """A body that came at once."""

    completed = True

    def __init__(self, data: bytes) -> None:
        self._stream = BytesIO(data)
        self._size = len(data)


class ChunkedBody(_Body):
    """A chunked body (RFC 9112 7.1) of at most `limit` octets. Extensions and trailers are dropped."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self._limit = limit
        self._pending = b""
        self._chunks = 0
        self._left = 0
        self._in_chunk = False
        self._trailer: int | None = None

    def received(self, data: bytes) -> int:
        """Take octets; returns how many of them belong to the body."""
        pending = self._pending + data
        position = 0
        while not self.completed and self.error is None:
            following = self._chunk(pending, position) if self._in_chunk else self._line(pending, position)
            if following == position:
                break
            position = following
        self._pending = pending[position:] if not self.completed else b""
        return len(data) if not self.completed else len(data) - (len(pending) - position)

    def _chunk(self, pending: bytes, position: int) -> int:
        """Take what is there of a chunk and the line break behind it; returns where to go on."""
        if self._left:
            part = memoryview(pending)[position : position + self._left]
            self._keep(part)
            self._left -= len(part)
            return position + len(part)
        if len(pending) - position < 2:
            return position
        if pending[position : position + 2] != b"\r\n":
            return self._refuse("a chunk is longer than its size says")
        self._in_chunk = False
        return position + 2

    def _line(self, pending: bytes, position: int) -> int:
        """Take a line: the size of a chunk, or a trailer; returns where to go on."""
        end = pending.find(b"\r\n", position)
        if end < 0:
            if len(pending) - position > max(_MAX_SIZE_LINE, _MAX_TRAILER if self._trailer is not None else 0):
                return self._refuse("a line of the chunked body is too long")
            return position
        line = pending[position:end]
        if self._trailer is None:
            self._begin_chunk(line)
        elif line:
            self._trailer += len(line) + 2
            if self._trailer > _MAX_TRAILER:
                return self._refuse("the trailers of the chunked body are too long")
        else:
            self._complete()
        return end + 2

    def _begin_chunk(self, line: bytes) -> None:
        found = _SIZE.fullmatch(line) if len(line) <= _MAX_SIZE_LINE else None
        if found is None:
            self._refuse("the size of a chunk is not a hexadecimal number")
            return
        size = int(found[1], 16)
        if not size:
            self._trailer = 0
            return
        self._chunks += 1
        if self._size + size > self._limit:
            self.error = Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request body is larger than {self._limit} bytes"
            )
        elif self._chunks > max_chunks(self._size):
            self._refuse("the body has too many small chunks")
        self._left, self._in_chunk = size, True

    def _refuse(self, text: str) -> int:
        self.error = Refusal(HTTPStatus.BAD_REQUEST, text)
        return -1
