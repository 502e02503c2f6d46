"""What granian calls for each request, in a worker with one Python thread: it finishes several requests together.

That thread takes one request after another from granian's queue and cannot see whether more are waiting. So it only
begins them, and wakes a second thread, which gets Python's lock when the first one waits for the queue, and finishes
what has come by then. Measured for a granted request, P-256, 16 connections: an eighth less CPU, a third less with
audit trail, metrics and access log.

It is put in the place of the function that granian makes for a WSGI application, which granian gives no name for; where
a version has no such place, each request is finished by itself.
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

_PLACE = "_wsgi_call_wrap"
_ALONE = 8
"""How many requests are finished at once, without the second thread, after one that was alone."""
_FAILED = (500, [("content-type", "text/plain")], b"the server failed to answer; its log has the reason")


def batch_requests() -> None:
    """Have the workers that granian starts in this process finish requests together."""
    if hasattr(mp, _PLACE):
        setattr(mp, _PLACE, lambda app, *_: GranianRunner(app))
    else:
        log.info("this version of granian cannot finish requests together; each costs more")


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
        self._together = Batch(_fail)
        self._alone = 0
        self._wake = threading.Lock()
        self._wake.acquire()
        threading.Thread(target=self._finish, name="finish", daemon=True).start()

    def __call__(self, protocol: Any, scope: dict[str, Any]) -> None:
        """Answer a request, or begin to."""
        reply = _Reply(protocol, self._begun)
        if reply.collect(self._app, {**self._environ, **scope, BATCH: reply.later}):
            protocol.response_bytes(reply.status, reply.headers, reply.body)

    def _begun(self, begun: BatchedRequest) -> None:
        together = self._together
        together.add(begun)
        if self._alone or together.enough:
            self._alone = max(0, self._alone - 1)
            together.finish()
        elif self._wake.locked():
            self._wake.release()

    def _finish(self) -> None:
        while True:
            self._wake.acquire()
            self._alone = _ALONE if self._together.finish() == 1 else 0


def _fail(protocol: Any) -> None:
    try:
        protocol.response_bytes(*_FAILED)
    except Exception:
        log.debug("a connection took no reply", exc_info=True)


class _Reply(WsgiReply):
    """What the application answers, and the way to its client."""

    __slots__ = ("_begun", "_protocol")

    def __init__(self, protocol: Any, begun: Callable[[BatchedRequest], None]) -> None:
        super().__init__()
        self._protocol = protocol
        self._begun = begun

    def later(self, begun: BatchedRequest) -> None:
        begun.connection = self._protocol
        begun.answer = self._answer
        self._begun(begun)

    def _answer(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self._protocol.response_bytes(int(status[:3]), headers, body)
