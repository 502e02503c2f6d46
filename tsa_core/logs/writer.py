"""Writes lines to a descriptor in few system calls, without delaying a line for long or losing one at the end.

A line takes 0.2 us when it waits for others, and 1 to 3 us when it is written alone. A line may be formatted later:
many at once take a quarter of the time of single ones, because then the code is in the CPU's caches. The number that
may wait is limited, because the data of lines that wait fills the same caches.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

_HELD_SECONDS = 0.1
_MAX_UNFORMATTED = 32
_MAX_TEXTS = 64
_ATOMIC_OCTETS = select.PIPE_BUF
"""What a pipe takes in one piece, so that lines of several processes do not mix."""


Line: TypeAlias = str | tuple[Callable[[Any], str], Any]
"""A line, or a function that makes it and its argument; the function runs in the thread that writes."""


def _formatted(line: tuple[Callable[[Any], str], Any]) -> str:
    make, facts = line
    try:
        return make(facts)
    except Exception as error:  # noqa: BLE001 - one bad line must not prevent the others
        return f"a line of the log could not be made: {error!r}\n"


class LineWriter:
    """Keeps lines for a tenth of a second at most, then writes them to `descriptor`. Thread-safe, and fork-safe.

    A thread of its own writes. It starts with the first line that waits, and sleeps while there is nothing to write.
    With a slow reader, the caller waits once some 2,000 lines wait; no line is dropped. Lines that cannot be written
    (the reader is gone, the disk is full) are dropped without a message, because there is nowhere to write one.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._reset()
        os.register_at_fork(before=self.flush, after_in_child=self._reset)

    def _reset(self) -> None:
        """Begin without a thread and without lines: after a fork the parent writes the lines that waited."""
        self._lines: deque[Line] = deque()
        self._texts: list[str] = []
        self._woken = False
        # Reentrant: a signal handler that logs may interrupt the thread that writes.
        self._writing = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, line: Line) -> None:
        """Write a line, which ends in a newline, soon."""
        lines = self._lines
        lines.append(line)
        if not self._woken:
            self._woken = True
            self._wake_thread()
        elif len(lines) >= _MAX_UNFORMATTED:
            self._format_waiting()

    def write(self, line: str) -> None:
        """Write a line now, after those that wait."""
        self._lines.append(line)
        self.flush()

    def flush(self) -> None:
        """Write the lines that wait."""
        with self._writing:
            # Cleared before the lines are taken: a line added after that either is taken or wakes the thread.
            self._woken = False
            self._take_lines()
            texts, self._texts = self._texts, []
            if texts:
                self._write_all("".join(texts))

    def _format_waiting(self) -> None:
        """Format the lines that wait, which frees their data, and write them when there are too many."""
        with self._writing:
            self._take_lines()
            if len(self._texts) >= _MAX_TEXTS:
                self.flush()

    def _take_lines(self) -> None:
        lines = self._lines
        if lines:
            taken = [lines.popleft() for _ in range(len(lines))]
            self._texts.append("".join([line if isinstance(line, str) else _formatted(line) for line in taken]))

    def close(self) -> None:
        """Write the lines that wait; later lines are written at once."""
        self._closed = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(1)
        self.flush()

    def _wake_thread(self) -> None:
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
                select.select([], [self._descriptor], [])  # another process has made the descriptor non-blocking
            except OSError:
                return
