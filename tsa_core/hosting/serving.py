"""Serves a configuration: opens what every way of serving needs, chooses the way, and runs it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from tsa_core.config import Settings
from tsa_core.hosting.answered import Answered
from tsa_core.hosting.ending import PROCESS_SLACK_SECONDS, Ending
from tsa_core.hosting.facts import Facts
from tsa_core.hosting.garbage import set_imports_aside
from tsa_core.hosting.in_process import InProcess
from tsa_core.hosting.pid_file import PidFile
from tsa_core.hosting.sockets import Listeners, open_listeners
from tsa_core.hosting.start_wait import StartWait, ToldToStop
from tsa_core.hosting.strategy import ServeJob, Strategy
from tsa_core.hosting.system_limits import limits_in_words
from tsa_core.hosting.tls_files import check_tls_files
from tsa_core.http.observability import Observability

Announce = Callable[[Mapping[str, Any]], None]
ReadAgain = Callable[[], Settings]


def serve(
    settings: Settings, announce: Announce, stopped: Callable[[Answered], None], *, read_again: ReadAgain | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, and finish what is in flight.

    `announce` is called once, when requests are answered, with `addresses`, `warnings` and `profiles`. `stopped` is
    called at the end, with whether all requests were answered. When something hangs then, the process ends with 0, at
    the latest two seconds after `graceful_timeout`, and this function does not return. `read_again` returns the
    settings as they are at a reload (SIGHUP); without it, a reload reads keys and chains alone. Raises ConfigError,
    PluginError or SignerError, with a line for the operator, when serving cannot begin.
    """
    ending = Ending(
        settings.server.graceful_timeout, slack=PROCESS_SLACK_SECONDS, exit_code=lambda _: 0, last_words=stopped
    )
    with limits_in_words():
        answered = _serve(settings, announce, read_again or (lambda: settings), ending)
    hangs = ending.finish()
    stopped(answered)
    if hangs:
        logging.shutdown()
        os._exit(0)  # else the interpreter would wait for threads that hang


def _serve(settings: Settings, announce: Announce, read_again: ReadAgain, ending: Ending) -> Answered:
    set_imports_aside()
    with ExitStack() as stack:
        try:
            job = _open_job(settings, read_again, ending, stack)
        except ToldToStop:
            return Answered.ALL
        strategy = _choose_strategy(job)
        stack.callback(strategy.close)

        def started(facts: Facts) -> None:
            announce({**job.observability.facts, **job.listeners.facts, **facts})
            job.observability.warn()
            strategy.announced()

        return strategy.run(started)


def _open_job(settings: Settings, read_again: ReadAgain, ending: Ending, stack: ExitStack) -> ServeJob:
    """Open what belongs to the process that may fork others; the stack closes it."""
    server = settings.server
    wait = StartWait(server)
    check_tls_files(server, by_granian=not settings.tells_guards_of_certificates)
    pid_file = None
    if path := server.pid_file:
        pid_file = wait.get(lambda: PidFile(path))
        stack.callback(pid_file.close)
    # First, because processes that share metrics must know so from the beginning.
    observability = stack.enter_context(wait.get(lambda: Observability(settings, forks=server.workers > 1)))
    listeners = wait.get(lambda: open_listeners(server))
    stack.callback(_close_in_parent, listeners, os.getpid())
    return ServeJob(
        settings=settings,
        listeners=listeners,
        read_again=read_again,
        pid_file=pid_file,
        observability=observability,
        ending=ending,
    )


def _choose_strategy(job: ServeJob) -> Strategy:
    if job.settings.server.workers == 1:
        return InProcess(job)
    # What starts processes takes as long to import as the configuration takes to open.
    from tsa_core.hosting.workers.strategy import Workers

    return Workers(job)


def _close_in_parent(listeners: Listeners, parent: int) -> None:
    """Close the listeners where they were opened; a worker's end must not remove a Unix socket."""
    if os.getpid() == parent:
        listeners.close()
