"""Signs requests in threads that may wait, one request in each; batches answer them afterwards.

The thread reads the clock, because its request may have waited for it, and calls the signer itself. Whoever started it
looks at the guard of its request, and takes the request away when the signer hangs (decision 288).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import TypeAlias

from tsa_core.api import RequestRejected
from tsa_core.authority.batch_guard import BatchGuard
from tsa_core.authority.pending_request import PendingRequest, WorkOnBatch
from tsa_core.authority.plugin_calls import PluginCalls
from tsa_core.authority.replies import Replies

_Sign: TypeAlias = Callable[[Sequence[PendingRequest], WorkOnBatch], None]


class SigningInThreads:
    """Signs and refuses requests that `TimestampAuthority.admit` has read and that `waits`. Thread-safe.

    `here` stands for what is called in the thread beside the signer.
    """

    def __init__(self, sign: _Sign, replies: Replies, here: PluginCalls) -> None:
        self._sign = sign
        self._replies = replies
        self._here = here

    def sign(self, pending: PendingRequest, guard: BatchGuard) -> None:
        """Sign a request, or refuse it when that fails; `respond_batch` answers it.

        Raises BatchTaken when the request was taken meanwhile, as soon as the signer returns.
        """
        if pending.trace is not None:
            pending.trace.wait_ended = perf_counter_ns()
        guard.begin(self._here)
        self._sign((pending,), WorkOnBatch(guard))
        guard.claim()
        pending.waits, pending.signed = False, True

    def lose(self, pending: PendingRequest, hanging: PluginCalls) -> None:
        """Refuse a request that was taken from the thread that signs it."""
        if pending.reply is None:
            profile = pending.profile
            profile.signing.set(profile.signer_failed)
            error = hanging.overdue()
            error.plugin = profile.settings.scheme
            self._replies.fail(pending, error)

    def refuse(self, pending: PendingRequest, rejection: RequestRejected) -> None:
        """Refuse a request that has waited too long for a thread."""
        self._replies.refuse(pending, rejection)
