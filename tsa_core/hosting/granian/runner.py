"""Batching for granian workers with one Python thread.

That thread takes requests from granian's queue one by one, and cannot see whether more are queued. So it reads a
request, adds it to a batch and wakes a second thread. The second thread gets Python's lock when the first one waits for
the queue, and processes the batch. Measured for a granted request, P-256, 16 connections: an eighth less CPU time, and
a third less with audit trail, metrics and access log.

GranianRunner replaces a private function of granian, which calls the WSGI application for each request. A version of
granian without that function does not batch requests.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

from granian.server import mp

from tsa_core.hosting.granian.wsgi_reply import WsgiReply
from tsa_core.http.batching import BATCH, Batch, BatchedRequest
from tsa_core.http.wsgi_types import WsgiApplication

log = logging.getLogger(__name__)

_CALLER = "_wsgi_call_wrap"
_UNBATCHED = 8
"""How many requests are answered without the second thread, after a batch of one request."""
_FAILED = (500, [("content-type", "text/plain")], b"the server failed to answer; its log has the reason")


def batch_requests() -> None:
    """Let the worker that granian starts in this process batch requests."""
    if hasattr(mp, _CALLER):
        setattr(mp, _CALLER, lambda app, *_: GranianRunner(app))
    else:
        log.info("this version of granian cannot batch requests; each costs more")


class GranianRunner:
    """Calls the application for each request; for the one thread of a worker."""

    def __init__(self, app: WsgiApplication) -> None:
        self._app = app
        self._environ = {
            "SCRIPT_NAME": "",
            "wsgi.errors": sys.stderr,
            "wsgi.input_terminated": True,
            "wsgi.multiprocess": False,
            "wsgi.multithread": True,
            "wsgi.run_once": False,
            "wsgi.version": (1, 0),
        }
        self._batch = Batch(_fail)
        self._unbatched = 0
        self._wake = threading.Lock()
        self._wake.acquire()
        threading.Thread(target=self._process_batches, name="batches", daemon=True).start()

    def __call__(self, protocol: Any, scope: dict[str, Any]) -> None:
        """Answer a request, or add it to the batch."""
        reply = _Reply(protocol, self._add_to_batch)
        if reply.collect(self._app, {**self._environ, **scope, BATCH: reply.add_to_batch}):
            protocol.response_bytes(reply.status, reply.headers, reply.body)

    def _add_to_batch(self, request: BatchedRequest) -> None:
        batch = self._batch
        batch.add(request)
        if self._unbatched or batch.full:
            self._unbatched = max(0, self._unbatched - 1)
            batch.process()
        elif self._wake.locked():
            self._wake.release()

    def _process_batches(self) -> None:
        while True:
            self._wake.acquire()
            self._unbatched = _UNBATCHED if self._batch.process() == 1 else 0


def _fail(protocol: Any) -> None:
    try:
        protocol.response_bytes(*_FAILED)
    except Exception:
        log.debug("a connection took no reply", exc_info=True)


class _Reply(WsgiReply):
    """The application's reply, and the granian protocol object that sends it."""

    __slots__ = ("_add", "_protocol")

    def __init__(self, protocol: Any, add: Callable[[BatchedRequest], None]) -> None:
        super().__init__()
        self._protocol = protocol
        self._add = add

    def add_to_batch(self, request: BatchedRequest) -> None:
        request.connection = self._protocol
        request.answer = self._answer
        self._add(request)

    def _answer(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self._protocol.response_bytes(int(status[:3]), headers, body)
