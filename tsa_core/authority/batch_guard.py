"""Decides who answers a batch: the thread that works on it, or the one that notices that it hangs."""

from __future__ import annotations

import threading
from time import monotonic

from tsa_core.authority.plugin_calls import PluginCalls


class BatchTaken(Exception):
    """Ends the work on a batch that another thread has answered meanwhile."""


class BatchGuard:
    """For one batch. The thread that works on it says with `begin` what it calls, and claims the batch at the end.

    Another thread looks at `is_overdue`, and takes the batch from it. Only one of the two succeeds, and answers.
    """

    # Of the class, because a guard is made for each batch and most of it stays as it is.
    _calls: PluginCalls | None = None
    _since = 0.0
    _overdue: PluginCalls | None = None
    _taken = False

    def __init__(self, lock: threading.Lock | None = None) -> None:
        self.lock = lock or threading.Lock()
        """Held while a request of the batch is answered before the batch is claimed; guards may share it."""

    def begin(self, calls: PluginCalls) -> None:
        """Say which plugin is called now, in this thread and so without a limit of its own."""
        # In this order, because another thread may look in between.
        self._since = monotonic()
        self._calls = calls

    def is_overdue(self, now: float) -> bool:
        """Say whether the plugin that is called now has not returned in time."""
        calls = self._calls
        return calls is not None and now - self._since > calls.seconds

    @property
    def hanging(self) -> PluginCalls | None:
        """The plugin that hangs, once the batch was taken because of it."""
        return self._overdue

    def take(self) -> bool:
        """Take the batch from the thread that works on it; returns False when that has claimed it."""
        with self.lock:
            if self._taken or self._calls is None:
                return False
            self._taken = True
            self._overdue = self._calls
            self._overdue.lost(self)
            return True

    def check(self) -> None:
        """With the lock: raise BatchTaken when the batch was taken."""
        if self._taken:
            raise BatchTaken

    def claim(self) -> None:
        """Claim the batch, to answer it; raises BatchTaken when it was taken."""
        with self.lock:
            if self._taken:
                raise BatchTaken
            self._taken = True
            self._calls = None

    def keep(self) -> None:
        """Claim the batch, or stay who has claimed it; raises BatchTaken when another thread has taken it."""
        with self.lock:
            if self._overdue is not None:
                raise BatchTaken
            self._taken = True
            self._calls = None

    def end(self) -> None:
        """Say that the thread works on the batch no more, whoever has answered it."""
        if self._calls is None and self._overdue is None:
            return  # claimed, so nobody can take it any more
        with self.lock:
            self._calls = None
            if self._overdue is not None:
                self._overdue.found()
