"""Batching: requests that are read one by one and answered together.

A server that reads several requests before it sends a reply puts BATCH into environ. The application then only reads
the request, gives it to BATCH as a BatchedRequest, and returns DEFERRED. `Batch.process` answers the requests later.
`TimestampAuthority.respond_batch` says what this saves. An audit sink that waits for its disk waits once for a batch.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from tsa_core.authority import BatchGuard, BatchTaken, PendingRequest, PluginCalls
from tsa_core.http.preparing import Preparer

log = logging.getLogger(__name__)

BATCH = "tsa_core.batch"
"""In environ: takes a BatchedRequest, whose reply is sent when its batch is processed."""

DEFERRED: list[bytes] = []
"""What the application returns for a request that was given to BATCH."""

_TARGET_SECONDS = 0.003
"""How long a batch may take. With a slow key a batch has one request, so no reply waits for another."""
_MAX_SIZE = 32
"""A larger batch costs no less for each request."""


_Request = TypeVar("_Request", bound="InBatch")


class InBatch(Protocol):
    """A request of a batch: who answers it, whether that was done, and the connection that it came on."""

    responder: Any
    answered: bool
    connection: Any


class Responder(Protocol):
    """Answers requests that came in batches."""

    may_wait: bool
    """Whether a batch may wait for a disk."""
    least_batch: int
    """How many requests a batch should have at least, if so many are there."""
    preparer: Preparer
    """Prepares requests for `sign`."""

    def respond(self, batch: Sequence[BatchedRequest], guard: BatchGuard) -> float:
        """Answer the requests, and return the seconds that grow with their number; raises BatchTaken.

        The seconds are without those that an audit sink takes once for all requests.
        """

    def give_up(self, batch: Sequence[BatchedRequest], hanging: PluginCalls) -> None:
        """Refuse the requests, because a plugin hangs."""

    def sign(self, request: BatchedRequest, guard: BatchGuard) -> None:
        """In a thread of the request's pool: sign what was prepared; `respond` answers it later. Raises BatchTaken."""

    def lose(self, request: BatchedRequest, hanging: PluginCalls) -> None:
        """Refuse a request that was taken from such a thread; `respond` answers it later."""

    def refuse_waiting(self, request: BatchedRequest, waited: float) -> None:
        """Refuse a request that has waited so many seconds for a thread; `respond` answers it later."""


class BatchedRequest:
    """A request that an application has read, and the way to send its reply.

    `responder` answers several such requests: it calls `answer` of each and then sets `answered`. The server sets
    `answer` and `connection`. A request that was read without an environ has a head in `usual` (fast_path.UsualHead);
    then `answer_usual` of its connection is called instead, with the second of the reply's date, the status, this
    object and the DER of the reply. To hold `environ`, or `holds`, keeps what the request belongs to open.
    """

    __slots__ = (
        "answer",
        "answered",
        "connection",
        "environ",
        "holds",
        "pending",
        "request_id",
        "responder",
        "usual",
    )

    answer: Callable[[str, list[tuple[str, str]], bytes], None]
    connection: Any
    holds: object

    def __init__(
        self,
        responder: Responder,
        pending: PendingRequest,
        environ: dict[str, Any],
        request_id: str,
        usual: Any = None,
    ) -> None:
        self.responder = responder
        self.answered = False
        self.pending = pending
        self.environ = environ
        self.request_id = request_id
        self.usual = usual

    @property
    def pool(self) -> str | None:
        """The pool whose thread makes its signature first, None when it can be answered as it is."""
        return self.pending.profile.name if self.pending.waits and self.pending.reply is None else None


class _Work(BatchGuard, Generic[_Request]):
    """What a thread works on, and who answers it."""

    def __init__(self, lock: threading.Lock, responder: Any, requests: Sequence[_Request]) -> None:
        self.lock = lock  # all that the base class would do
        self.responder = responder
        self.requests = requests


class Batch(Generic[_Request]):
    """Collects requests and answers them together. Its size adapts: a batch should take three milliseconds.

    Thread-safe. One thread at a time answers: `process` returns at once while another thread is at it, and that one
    answers the requests that were added meanwhile. While a plugin hangs in that thread, `give_up`, which another one
    calls periodically, refuses the requests. `close` ends the connection of a request that could not be answered. An
    application should not let that happen.
    """

    def __init__(self, close: Callable[[Any], None]) -> None:
        self._close = close
        self._requests: deque[_Request] = deque()
        self._target_size = 1
        self._turn = threading.Lock()
        self._answering = threading.Lock()
        self._work: _Work[_Request] | None = None

    def add(self, request: _Request) -> None:
        """Add a request."""
        self._requests.append(request)

    @property
    def full(self) -> bool:
        """Whether the batch should be processed before more requests are added."""
        return len(self._requests) >= self._target_size

    @property
    def waiting(self) -> int:
        """The number of requests that nobody works on yet."""
        return len(self._requests)

    def process(self) -> Sequence[_Request]:
        """Answer all requests of the batch, and return them."""
        done: Sequence[_Request] = ()
        # Once more, because another thread may have added a request, and found that this one was at it.
        while self._requests and self._turn.acquire(False):
            try:
                requests = self._take()
                self._process(requests)
            finally:
                self._turn.release()
            done = requests if not done else [*done, *requests]
        return done

    def _process(self, requests: Sequence[_Request]) -> None:
        seconds = 0.0
        for responder, group in _by_responder(requests):
            self._work = work = _Work(self._answering, responder, group)
            try:
                seconds += responder.respond(group, work)
                work.requests = ()  # nobody can take them now; in a circle, all would stay until garbage is collected
            except BatchTaken:
                seconds += _TARGET_SECONDS  # `give_up` has answered
            except Exception:
                log.exception("requests could not be answered")
                self._abandon(group)
            finally:
                self._work = None
                work.end()
        if seconds > _TARGET_SECONDS:
            least = requests[0].responder.least_batch
            self._target_size = max(least, min(self._target_size, len(requests)) // 2)
        elif len(requests) >= self._target_size:
            self._target_size = min(_MAX_SIZE, self._target_size * 2)

    def give_up(self) -> Sequence[_Request]:
        """Refuse the requests of a batch in which a plugin hangs, and those that wait behind it; return them."""
        work = self._work
        if work is None:
            return ()
        refused: list[_Request] = []
        if work.is_overdue(monotonic()) and work.take():
            refused += work.requests
        hanging = work.hanging
        if hanging is None:
            return ()
        refused += self._take()
        for responder, group in _by_responder(refused):
            try:
                responder.give_up(group, hanging)
            except Exception:
                log.exception("requests could not be refused")
                self._abandon(group)
        return refused

    def _abandon(self, group: Sequence[_Request]) -> None:
        """Close the connections of requests that an application could not answer."""
        lost = [each for each in group if not each.answered]
        if not lost:
            return
        log.error("%d requests could not be answered; their connections are closed", len(lost))
        for each in lost:
            self._close(each.connection)

    def _take(self) -> list[_Request]:
        queue = self._requests
        requests: list[_Request] = []
        try:
            while queue:
                requests.append(queue.popleft())
        except IndexError:  # another thread has taken the last one
            return requests
        return requests


def _by_responder(requests: Sequence[_Request]) -> Iterable[tuple[Any, Sequence[_Request]]]:
    """Return the requests of each responder; there is more than one only for a moment, after a reload."""
    if not requests:
        return ()
    first = requests[0].responder
    for each in requests:
        if each.responder is not first:
            break
    else:
        return ((first, requests),)
    groups: dict[Any, list[_Request]] = {}
    for each in requests:
        groups.setdefault(each.responder, []).append(each)
    return groups.items()
