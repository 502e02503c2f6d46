"""Writes lines to a descriptor in few system calls, and lets no caller wait for the reader of that descriptor.

A line takes 0.2 us when it waits for others. A line may be formatted later: many at once take a quarter of the time of
single ones, because then the code is in the CPU's caches. The number that may wait unformatted is limited, because the
data of lines that wait fills the same caches.
"""

from __future__ import annotations

import logging
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, TypeAlias

log = logging.getLogger(__name__)

_HELD_SECONDS = 0.1
_MAX_UNFORMATTED = 16
"""Lines that may wait unformatted; what a server answers together comes as one, and is formatted at once."""
_MAX_OCTETS = 4 * 1_048_576
"""What may wait at most, in characters; more is dropped even while the reader reads."""
PATIENCE_SECONDS = 1.0
"""How long a reader may read nothing before lines are dropped, and how long `flush` and `close` wait for it."""
_ATOMIC_OCTETS = select.PIPE_BUF
"""What a pipe takes in one piece, so that lines of several processes do not mix."""
_FILE_OCTETS = 1_048_576
"""A file takes any number in one piece: the kernel locks it for each write."""


Line: TypeAlias = str | tuple[Callable[[Any], str], Any]
"""A line, or a function that makes one or several and its argument; the function runs later, in any thread."""


def unmade(error: Exception) -> str:
    """Return what stands in place of a line that could not be made."""
    return f"a line of the log could not be made: {error!r}\n"


def _formatted(line: tuple[Callable[[Any], str], Any]) -> str:
    make, facts = line
    try:
        return make(facts)
    except Exception as error:  # noqa: BLE001 - one bad line must not prevent the others
        return unmade(error)


def _piece_octets(descriptor: int) -> int:
    """Return how many octets may be written at once."""
    try:
        return _FILE_OCTETS if stat.S_ISREG(os.fstat(descriptor).st_mode) else _ATOMIC_OCTETS
    except OSError:
        return _ATOMIC_OCTETS


def _pieces(text: str, octets: int) -> Iterator[bytes]:
    """Yield whole lines, as many at once as have so many octets."""
    data = text.encode("utf-8", "backslashreplace")
    start = 0
    while len(data) - start > octets:
        end = data.rfind(b"\n", start, start + octets) + 1 or data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end
    if start < len(data):
        yield data[start:]


class _Signal:
    """Wakes one thread; unlike threading.Event, a signal handler may set it while its own thread does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            return  # it is set

    def wait(self, seconds: float = -1) -> None:
        """Wait until it is set, and clear it."""
        self._lock.acquire(timeout=seconds)


class LineWriter:
    """Keeps lines for a tenth of a second at most, then writes them to `descriptor`. Thread-safe, and fork-safe.

    A thread of its own writes. It starts with the first line, and sleeps while there is nothing to write. No caller
    waits for the reader: when that has read nothing for a second, lines are dropped and counted, and a line of the log
    says how many once it reads again. Lines that cannot be written (the reader is gone, the disk is full) are counted
    too. `flush` and `close` wait for the reader, a second at most.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._piece_octets = _piece_octets(descriptor)
        self._reset()
        os.register_at_fork(before=self.flush, after_in_child=self._reset)

    def _reset(self) -> None:
        """Begin without a thread and without lines: after a fork the parent writes the lines that waited."""
        self._lines: deque[Line] = deque()
        self._unformatted = 0
        """About how many lines there are in `_lines`: threads may count at the same time."""
        self._texts: list[str] = []
        self._unwritten: deque[bytes] = deque()
        """What the thread has taken and not written yet; the first piece may be written already."""
        self._octets = 0
        self._woken = False
        self.dropped = 0
        """The number of lines that this process has dropped."""
        self._told = 0
        self._failing = False
        """Whether the last write failed; then a line that says so would only fail as well, again and again."""
        self._torn = False
        """Whether the last line was written in part: the disk was full."""
        self._writing_since = 0.0
        """time.monotonic() when the write began that has not returned yet, else 0."""
        # Reentrant: a signal handler that logs may interrupt the thread that holds it.
        self._formatting = threading.RLock()
        self._written = threading.Condition(threading.RLock())
        self._wake, self._now = _Signal(), _Signal()
        self._starting = threading.RLock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, line: Line, *, count: int = 1) -> None:
        """Write a line, which ends in a newline, soon; or as many as `count` says."""
        if (self._writing_since and self._is_stuck()) or self._octets > _MAX_OCTETS:
            self.dropped += count
            return
        self._lines.append(line)
        self._unformatted += count
        if not self._woken:
            self._woken = True
            self._wake_thread()
        if self._unformatted >= _MAX_UNFORMATTED:
            self._format_waiting()

    def write(self, line: str) -> None:
        """Write a line at once, after those that wait; without waiting until that is done."""
        self.add(line)
        self._now.set()

    def flush(self) -> None:
        """Wait until the lines that wait are written, as long as the reader reads."""
        if self._thread is None or not self._thread.is_alive() or self._thread is threading.current_thread():
            return
        self._wake.set()
        self._now.set()
        with self._written:
            while self._has_more() and not self._is_stuck() and self._thread.is_alive():
                self._written.wait(PATIENCE_SECONDS / 10)

    def close(self) -> None:
        """Write the lines that wait; later lines are written at once if the reader has room for them."""
        self.flush()
        self._closed = True
        self._wake.set()
        self._now.set()
        if self._has_more() and not self._is_stuck():
            self._write_here()

    def end_thread(self) -> None:
        """Write the lines that wait, and end the thread; the next line starts another one.

        For who forks without telling Python: what a thread holds at that moment is held in the new process for ever.
        """
        self.flush()
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        self._closed = True
        self._wake.set()
        self._now.set()
        thread.join(PATIENCE_SECONDS)
        self._thread, self._closed, self._woken = None, False, False

    def write_waiting_here(self) -> None:
        """Write what waits without the thread, and what that has not written: before an end that waits for no thread.

        What the thread is writing at this moment may be written twice. Nobody is waited for but who formats a line.
        """
        for piece in list(self._unwritten):
            self._write_if_room(piece)
        self._write_here()

    def _has_more(self) -> bool:
        return bool(self._lines or self._texts or self._writing_since)

    def _is_stuck(self) -> bool:
        since = self._writing_since
        return bool(since) and monotonic() - since > PATIENCE_SECONDS

    def _format_waiting(self) -> None:
        """Format the lines that wait, which frees their data."""
        with self._formatting:
            lines = self._lines
            self._unformatted = 0
            if lines:
                taken = [lines.popleft() for _ in range(len(lines))]
                text = "".join([line if isinstance(line, str) else _formatted(line) for line in taken])
                self._octets += len(text)
                self._texts.append(text)

    def _wake_thread(self) -> None:
        if self._closed:
            self._write_here()
            return
        if self._thread is None and not self._start_thread():
            self._write_here()
            return
        self._wake.set()

    def _start_thread(self) -> bool:
        with self._starting:
            if self._thread is not None:
                return True
            thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError):
                return False  # the next line tries again
            self._thread = thread
            return True

    def _write_here(self) -> None:
        """Write without the thread, which has ended or cannot be started: what the reader has room for."""
        self._woken = False
        for piece in _pieces("".join(self._take_texts()), self._piece_octets):
            self._write_if_room(piece)

    def _write_if_room(self, piece: bytes) -> None:
        if select.select([], [self._descriptor], [], 0)[1]:
            self._write_piece(piece)
        else:
            self.dropped += piece.count(b"\n")

    def _take_texts(self) -> Sequence[str]:
        with self._formatting:
            self._format_waiting()
            texts, self._texts = self._texts, []
            self._octets = 0
        return texts

    # -- in the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait()
            if not self._closed:
                self._now.wait(_HELD_SECONDS)
            self._write_waiting()

    def _write_waiting(self) -> None:
        # Cleared before the lines are taken: a line added after that either is taken or wakes the thread.
        self._woken = False
        self._writing_since = monotonic()
        try:
            self._unwritten.extend(_pieces("".join(self._take_texts()), self._piece_octets))
            while self._unwritten:
                self._write_piece(self._unwritten[0])
                self._unwritten.popleft()
        finally:
            self._writing_since = 0.0
            with self._written:
                self._written.notify_all()
        if not self._failing and (dropped := self.dropped - self._told) > 0:
            self._told += dropped
            log.warning("%d lines of the log were dropped, because nobody read them in time", dropped)

    def _write_piece(self, piece: bytes) -> None:
        whole = b"\n" + piece if self._torn else piece
        data = memoryview(whole)
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])  # another process has made the descriptor non-blocking
            except OSError:
                self.dropped += piece[-len(data) :].count(b"\n")
                if written := len(whole) - len(data):
                    self._torn = not whole.endswith(b"\n", 0, written)
                self._failing = True
                return
            self._failing = False
            if self._writing_since:
                self._writing_since = monotonic()  # the reader reads
        self._torn = False
