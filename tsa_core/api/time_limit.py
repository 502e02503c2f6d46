"""Calls what a plugin wrote at start, and stops waiting for it after a while."""

from __future__ import annotations

import contextvars
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_END_SECONDS = 5.0
_PAUSE_SECONDS = 0.0002


class Overdue(Exception):
    """A call has not returned in time. Its thread is left behind, because nothing can end it but the process's end."""

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__(thread.name)
        self.thread = thread


class Escaped(Exception):
    """What a call raised that is no Exception: SystemExit, KeyboardInterrupt, or the panic of a library in Rust.

    Raised in its place: it is the call's failure, and neither this thread's end nor the operator's Ctrl-C.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(told(error))
        self.error = error


def told(error: BaseException) -> str:
    """Return the kind of an error and what it says, in one line; never raises, as the error's own text may."""
    if isinstance(error, Escaped):
        return told(error.error)
    kind = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - the text of a plugin's error is a plugin's code
        text = "it cannot say more"
    return f"{kind}: {text}" if text else kind


class _Outcome:
    """What a call has come to: `result`, or `error` when it has raised."""

    result: object = None
    error: BaseException | None = None


def within_limit(call: Callable[[], T], *, seconds: float, name: str) -> T:
    """Return `call()`, which a thread of its own makes; raises Overdue when that takes longer than `seconds`.

    The thread has this one's context variables. What the call raises is raised here, as Escaped where it is no
    Exception. For the start and for reloads, not for requests: a thread costs 0.1 ms. Where the system gives no more
    threads, there is no limit.
    """
    outcome = _Outcome()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            outcome.result = context.run(call)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            outcome.error = error

    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        run()
    else:
        thread.join(seconds)
        if thread.is_alive():
            raise Overdue(thread)
        _wait_for_end(thread)
    if isinstance(outcome.error, Exception):
        raise outcome.error
    if outcome.error is not None:
        raise Escaped(outcome.error) from outcome.error
    return outcome.result  # type: ignore[return-value] # what `call` returned


def _wait_for_end(thread: threading.Thread) -> None:
    """Wait until the operating system has ended a thread that was joined; Linux only.

    What Python joins may still run: OpenSSL tidies up when a thread ends, under a lock. Who forks at that moment forks
    the lock without its holder, and the new process waits for it for ever.
    """
    task = Path(f"/proc/self/task/{thread.native_id}")
    deadline = time.monotonic() + _END_SECONDS
    while task.exists() and time.monotonic() < deadline:
        select.select([], [], [], _PAUSE_SECONDS)  # sleep fails at times under libfaketime, which tests use
