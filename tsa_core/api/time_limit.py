"""Calls what a plugin wrote at start, and stops waiting for it after a while."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Overdue(Exception):
    """A call has not returned in time. Its thread is left behind, because nothing can end it but the process's end."""


class _Outcome:
    """What a call has come to: `result`, or `error` when it has raised."""

    result: object = None
    error: BaseException | None = None


def within_limit(call: Callable[[], T], *, seconds: float, name: str) -> T:
    """Return `call()`, which a thread of its own makes; raises Overdue when that takes longer than `seconds`.

    The thread has this one's context variables. What the call raises is raised here, SystemExit too. For the start and
    for reloads, not for requests: a thread costs 0.1 ms. Where the system gives no more threads, there is no limit.
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
        return call()
    thread.join(seconds)
    if thread.is_alive():
        raise Overdue
    if outcome.error is not None:
        raise outcome.error
    return outcome.result  # type: ignore[return-value] # what `call` returned
