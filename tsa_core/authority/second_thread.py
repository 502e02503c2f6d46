"""A second thread that signs: with a slow key in memory, on a CPU that the process has to spare.

The cryptographic library lets other threads run while it signs. So the thread that answers a batch and this one take
signatures from one queue until all are made. Everything else about a request stays in the thread that answers. Only
signers that say that they are `parallel` are called so (decision 287).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import perf_counter_ns

from tsa_core.config.cores import CPUS_AT_START


class Signing:
    """One signature: what came of it once `done` is true, and when, by perf_counter_ns."""

    __slots__ = ("_sign", "_to_sign", "began", "done", "ended", "error", "signature")

    def __init__(self, sign: Callable[[bytes], object], to_sign: bytes) -> None:
        self._sign = sign
        self._to_sign = to_sign
        self.signature: object = None
        self.error: BaseException | None = None
        self.began = self.ended = 0
        self.done = False

    def make(self) -> None:
        """Sign; never raises."""
        self.began = perf_counter_ns()
        try:
            self.signature = self._sign(self._to_sign)
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self.error = error
        self.ended = perf_counter_ns()
        self.done = True

    def result(self) -> object:
        """Return the signature, or raise what the signer raised."""
        if self.error is not None:
            raise self.error
        return self.signature


_END = Signing(bytes, b"")
"""Comes behind the last signature of a batch."""


class SharedBatch:
    """The signatures of one batch, which two threads make. Each is made once, by whichever thread takes it."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Signing] = SimpleQueue()
        self._finished: SimpleQueue[Signing] = SimpleQueue()

    def add(self, signing: Signing) -> None:
        """Let a signature be made, by either thread."""
        self._waiting.put(signing)

    def wait_for(self, signing: Signing) -> None:
        """Return when a signature that was added has been made; meanwhile make those that nobody has begun.

        Where the other thread hangs, this one does, too: whoever guards the batch takes both for one.
        """
        while not signing.done:
            try:
                self._waiting.get_nowait().make()
            except Empty:
                self._finished.get()

    def end(self) -> None:
        """Say that no signature is to be made any more."""
        self._waiting.put(_END)

    def help(self) -> None:
        """In the other thread: make signatures until the end."""
        while (signing := self._waiting.get()) is not _END:
            signing.make()
            self._finished.put(signing)


class SecondThread:
    """The thread, which is started when it is first needed. Thread-safe."""

    def __init__(self) -> None:
        self._batches: SimpleQueue[SharedBatch | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False

    def share(self) -> SharedBatch | None:
        """Return what signatures are to be added to; None when the thread has no time for them."""
        # After a fork, the thread of the process before is not alive, and its queue in a state that nobody knows.
        if (self._thread is None or not self._thread.is_alive()) and not self._start():
            return None
        if not self._batches.empty():  # it signs for another loop, or hangs
            return None
        batch = SharedBatch()
        self._batches.put(batch)
        return batch

    def close(self) -> None:
        """End the thread when it has signed what it has begun."""
        with self._starting:
            self._closed = True
            self._batches.put(None)

    def _start(self) -> bool:
        with self._starting:
            if self._closed:
                return False
            if self._thread is not None and self._thread.is_alive():  # another loop has started it meanwhile
                return True
            self._batches = SimpleQueue()
            thread = threading.Thread(target=_help, args=(self._batches,), name="second-signer", daemon=True)
            with suppress(RuntimeError, MemoryError):  # the system allows no more now; the next batch tries again
                thread.start()
                self._thread = thread
                return True
        return False


def _help(batches: SimpleQueue[SharedBatch | None]) -> None:
    if CPUS_AT_START is not None:  # a worker of granian keeps itself to one of them
        with suppress(OSError):
            os.sched_setaffinity(0, CPUS_AT_START)
    while (batch := batches.get()) is not None:
        batch.help()
