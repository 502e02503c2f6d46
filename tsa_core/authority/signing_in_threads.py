"""Signs requests in threads that may wait, one in each; batches prepare them before, and answer them afterwards.

They are prepared when threads are free for them, because the clock is read then. The thread calls the signer itself.
Whoever started it looks at the guard of its request, and takes the request away when the signer hangs (decision 288).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import TypeAlias

from tsa_core.api import RequestRejected
from tsa_core.authority.attempts import Attempts
from tsa_core.authority.batch_guard import BatchGuard, BatchTaken
from tsa_core.authority.pending_request import PendingRequest, WorkOnBatch
from tsa_core.authority.plugin_calls import PluginCalls
from tsa_core.authority.replies import Replies
from tsa_core.authority.signing import sign

_Prepare: TypeAlias = Callable[[Sequence[PendingRequest], WorkOnBatch], None]


class SigningInThreads:
    """Signs and refuses requests that `TimestampAuthority.admit` has read and that `waits`. Thread-safe.

    `prepare` reads the clock and encodes what is signed, and `here` stands for what that calls.
    """

    def __init__(self, prepare: _Prepare, attempt: Attempts, replies: Replies, here: PluginCalls) -> None:
        self._prepare = prepare
        self._attempt = attempt
        self._replies = replies
        self._here = here

    def prepare(self, batch: Sequence[PendingRequest], guard: BatchGuard) -> None:
        """Read the clock for requests that threads are free for, or refuse them; raises BatchTaken, and claims nothing.

        This is for the thread that answers batches. A clock that hangs is noticed as it is there. What waits for the
        next tick of an ordered clock is left to `sign`.
        """
        now = perf_counter_ns()
        for pending in batch:
            if pending.trace is not None:
                pending.trace.wait_ended = now
        guard.begin(self._here)
        self._prepare([pending for pending in batch if pending.profile.prepares_in_batch], WorkOnBatch(guard))

    def sign(self, pending: PendingRequest, guard: BatchGuard) -> None:
        """Sign a request after `prepare`, or refuse it when that fails; `respond_batch` answers it.

        Raises BatchTaken when the request was taken meanwhile, as soon as the signer returns, and nothing else.
        """
        try:
            self._sign(pending, guard)
        except BatchTaken:
            raise
        except BaseException as error:  # noqa: BLE001 - no stage raises it: memory, random numbers, a bug of ours
            guard.keep()
            if pending.reply is None:
                self._replies.fail(pending, error)

    def _sign(self, pending: PendingRequest, guard: BatchGuard) -> None:
        pending.batch = work = WorkOnBatch(guard)
        if not pending.profile.prepares_in_batch:
            guard.begin(self._here)
            self._prepare((pending,), work)
        if pending.reply is None:
            self._attempt(sign, (pending,), guard)
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
