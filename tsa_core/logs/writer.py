"""Writes lines to a descriptor in few system calls, without losing any at the end or keeping any for long.

A line costs 0.2 us when it waits for others, and 1 to 3 us when it is written by itself. A line may be put together
later: many at once cost a quarter of what each costs by itself between two requests, where nothing of it is in the
processor's caches. Not too many, because until then each keeps its facts in memory, which fills the same caches.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

_HELD_SECONDS = 0.1
_MOST_UNMADE = 32
_MOST_TEXTS = 64
_ATOMIC_OCTETS = select.PIPE_BUF
"""What a pipe takes in one piece, so that the lines of several processes never mix."""


Line: TypeAlias = str | tuple[Callable[[Any], str], Any]
"""A line, or what makes it and of what; that runs in whichever thread writes."""


def _made(line: tuple[Callable[[Any], str], Any]) -> str:
    make, facts = line
    try:
        return make(facts)
    except Exception as error:  # noqa: BLE001 - one line must not keep the others from being written
        return f"a line of the log could not be made: {error!r}\n"


class LineWriter:
    """Keeps lines for a tenth of a second at most, then writes them to `descriptor`. Thread-safe, and fork-safe.

    A thread of its own writes; it starts with the first line that waits, and sleeps while there is nothing to write.
    When whoever reads at the other end is slow, some 2,000 lines make the caller wait: none is dropped. What cannot be
    written at all (the reader has gone, the disk is full) is dropped: there is no place left to say so.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._reset()
        os.register_at_fork(before=self.flush, after_in_child=self._reset)

    def _reset(self) -> None:
        """Begin, with no thread: after a fork the child has none, and what waited was the parent's to write."""
        self._lines: deque[Line] = deque()
        self._texts: list[str] = []
        self._awaited = False
        # A signal handler that logs may interrupt the very thread that writes.
        self._writing = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, line: Line) -> None:
        """Write a line, which ends in a newline, soon."""
        lines = self._lines
        lines.append(line)
        if not self._awaited:
            self._awaited = True
            self._rouse()
        elif len(lines) >= _MOST_UNMADE:
            self._put_together()

    def write(self, line: str) -> None:
        """Write a line now, after those that wait."""
        self._lines.append(line)
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            # In this order: a line that is added from here on either wakes the thread or is among those taken now.
            self._awaited = False
            self._take_lines()
            texts, self._texts = self._texts, []
            if texts:
                self._write_all("".join(texts))

    def _put_together(self) -> None:
        """Let go of the facts of the lines that wait, and write when there are too many of them."""
        with self._writing:
            self._take_lines()
            if len(self._texts) >= _MOST_TEXTS:
                self.flush()

    def _take_lines(self) -> None:
        lines = self._lines
        if lines:
            taken = [lines.popleft() for _ in range(len(lines))]
            self._texts.append("".join([line if isinstance(line, str) else _made(line) for line in taken]))

    def close(self) -> None:
        """Write what waits, and from now on every line at once."""
        self._closed = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(1)
        self.flush()

    def _rouse(self) -> None:
        if self._closed:
            self.flush()
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
            self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        pause = threading.Event()
        while not self._closed:
            self._wake.wait()
            self._wake.clear()
            if not self._closed:
                pause.wait(_HELD_SECONDS)
            self.flush()

    def _write_all(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        start = 0
        while len(data) - start > _ATOMIC_OCTETS:
            end = data.rfind(b"\n", start, start + _ATOMIC_OCTETS) + 1 or data.find(b"\n", start) + 1 or len(data)
            self._write_piece(data[start:end])
            start = end
        self._write_piece(data[start:])

    def _write_piece(self, piece: bytes) -> None:
        data = memoryview(piece)
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])  # somebody made the descriptor non-blocking
            except OSError:
                return
