"""granian, for throughput: HTTP in Rust, the application in worker processes (extra tsa-core[granian]).

granian forks its workers itself. Each worker opens the service, except what processes can share. Through a pipe it
reports to the parent that it answers requests, or why it cannot.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tsa_core.api import ConfigError, TemporaryFailure, TsaError, UnavailableError
from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.cpu_affinity import pin_to_one_cpu
from tsa_core.hosting.granian.thread_limits import ThreadLimits, threads_needed
from tsa_core.hosting.notify import notify_stopping

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 10.0


def serve_granian(
    settings: ServerSettings,
    *,
    listening: socket.socket,
    open_app: Callable[[int], tuple[Callable[..., Any], Mapping[str, object]]],
    started: Callable[[Mapping[str, object]], None],
    waiting_profiles: int,
    hung_up: Callable[..., None],
) -> None:
    """Serve on `listening` until SIGTERM or SIGINT; raises ConfigError when a worker cannot start.

    `open_app(slot)` runs in each worker, counted from 0, and returns the application and a report. `started` is called
    in this process with such a report, once all workers answer requests. `waiting_profiles` counts the profiles whose
    signers wait for a backend: without any, a worker has one thread and a CPU of its own. `hung_up` handles SIGHUP in
    this process: granian's own reload ends connections, and cannot be undone when a worker fails.
    """
    from tsa_core.hosting.granian.forking import forking_server
    from tsa_core.hosting.granian.runner import batch_requests

    logging.getLogger("_granian").setLevel(logging.WARNING)
    multiprocessing.set_start_method("fork", force=True)
    reports = _Reports(settings.workers, started)
    server = forking_server(settings, listening, threads=threads_needed(settings, waiting_profiles))
    setattr(server, "signal_handler_reload", hung_up)  # noqa: B010 - to mypy, a plain assignment replaces a method
    interrupt: Callable[..., None] = server.signal_handler_interrupt

    def stop(*arguments: object) -> None:
        notify_stopping()
        interrupt(*arguments)

    setattr(server, "signal_handler_interrupt", stop)  # noqa: B010 - as above
    reports.listen(on_failure=interrupt)

    def load(slot: int) -> Callable[..., Any]:
        app = reports.report(partial(open_app, slot))
        if waiting_profiles:
            return ThreadLimits(app, settings)
        pin_to_one_cpu(settings, slot)
        batch_requests()
        return app

    try:
        server.serve(target_loader=load, wrap_loader=False)
    except SystemExit as error:
        if not reports.error:
            raise ConfigError(f"granian ended with code {error.code}; its messages above say why") from None
    if reports.error:
        raise UnavailableError(reports.error) if reports.temporary else ConfigError(reports.error)


def _rest(seconds: float) -> None:
    """Sleep, and let SIGTERM end this process: the handler that it inherited is for the parent."""
    handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        time.sleep(seconds)
    finally:
        signal.signal(signal.SIGTERM, handler)


class _Reports:
    """A pipe on which workers report that they answer requests, or why not; a thread of the parent reads it."""

    def __init__(self, count: int, started: Callable[[Mapping[str, object]], None]) -> None:
        self._read, self._write = os.pipe()
        self._count = count
        self._started = started
        self._parent = os.getpid()
        self._all_served = False
        self.error = ""
        self.temporary = False

    def report(self, open_app: Callable[[], tuple[Callable[..., Any], Mapping[str, object]]]) -> Callable[..., Any]:
        """In a worker: open the application and report. A failure ends the worker, and at the start the server.

        Once all workers have served, one that replaces another tries again and does not end: when two workers end soon
        after each other, granian ends the server, although the other workers still answer.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                app, message = open_app()
            except TsaError as error:
                self._send({"error": str(error), "temporary": isinstance(error, TemporaryFailure)})
                if not self._all_served:
                    os._exit(2)
                _rest(pause)
                if os.getppid() != self._parent:
                    os._exit(2)
                pause = min(2 * pause, _MAX_PAUSE_SECONDS)
                continue
            except BaseException as error:
                self._send({"error": f"a worker could not start: {type(error).__name__}: {error}"})
                raise
            self._send({"serves": True, **message})
            return app

    def _send(self, message: Mapping[str, object]) -> None:
        os.write(self._write, json.dumps(message).encode("utf-8") + b"\n")

    def listen(self, *, on_failure: Callable[[], None]) -> None:
        """In the parent: read reports in a thread of its own."""

        def read() -> None:
            serving = 0
            with os.fdopen(self._read, "rb") as stream:
                for line in stream:
                    message = json.loads(line)
                    if "error" in message and serving < self._count:
                        if not self.error:
                            self.error, self.temporary = str(message["error"]), bool(message.get("temporary"))
                        on_failure()
                    elif "error" in message:
                        log.error("a worker cannot serve: %s", message["error"])
                    serving += "serves" in message
                    self._all_served = serving >= self._count
                    if serving == self._count and "serves" in message:
                        self._started(message)

        threading.Thread(target=read, name="worker-reports", daemon=True).start()
