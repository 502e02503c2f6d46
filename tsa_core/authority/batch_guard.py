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

    __slots__ = ("_calls", "_overdue", "_since", "_taken", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """Held while a request of the batch is answered before the batch is claimed."""
        self._calls: PluginCalls | None = None
        self._since = 0.0
        self._overdue: PluginCalls | None = None
        self._taken = False

    def begin(self, calls: PluginCalls) -> None:
        """Say which plugin is called now, in this thread and so without a limit of its own."""
        self._calls = calls
        self._since = monotonic()

    def is_overdue(self, now: float) -> bool:
        """Say whether the plugin that is called now has not returned in time."""
        calls = self._calls
        return calls is not None and now - self._since > calls.seconds

    def take(self) -> PluginCalls | None:
        """Take the batch from the thread that works on it, and return which plugin hangs; None when it is too late."""
        with self.lock:
            if self._taken or self._calls is None:
                return None
            self._taken = True
            self._overdue = self._calls
            self._overdue.say_hangs()
            return self._overdue

    def check(self) -> None:
        """With the lock: raise BatchTaken when the batch was taken."""
        if self._taken:
            raise BatchTaken

    def claim(self) -> None:
        """Claim the batch, to answer it; raises BatchTaken when it was taken."""
        with self.lock:
            if self._overdue is not None:
                self._overdue.hangs.clear()
                raise BatchTaken
            self._taken = True
            self._calls = None
