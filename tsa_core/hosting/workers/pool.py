"""Several processes on the same listening sockets.

The parent binds, opens what processes can share, and forks. Each worker opens the rest, because connections and threads
do not survive a fork. A worker that dies is replaced. SIGTERM and SIGINT shut all of them down.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import NoReturn

from tsa_core.api import ConfigError, TemporaryFailure, TsaError, UnavailableError
from tsa_core.hosting.notify import notify_stopping

log = logging.getLogger(__name__)

_ENDS = (signal.SIGTERM, signal.SIGINT)
_HANDLED = (*_ENDS, signal.SIGHUP)
_MAX_REPORT_OCTETS = 1_048_576
_SHORT_LIFE_SECONDS = 5.0
_MAX_PAUSE_SECONDS = 10.0
_KILL_SLACK_SECONDS = 5.0
_TURN_SECONDS = 0.2


class Report:
    """A worker's message to its parent: that it serves, with its facts, or why it cannot."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self.sent = False

    def send(self, message: Mapping[str, object]) -> None:
        """In the worker: send the report; called once."""
        self.sent = True
        os.close(self._read)
        data = json.dumps(message).encode("utf-8")[:_MAX_REPORT_OCTETS]
        while data:
            data = data[os.write(self._write, data) :]
        os.close(self._write)

    def expect(self) -> None:
        """In the parent, right after the fork: close the worker's end, so that no later worker inherits it."""
        os.close(self._write)

    def receive_nothing(self) -> None:
        """In the parent, when there is no worker."""
        os.close(self._read)
        os.close(self._write)

    def receive(self) -> dict[str, object]:
        """In the parent: wait for the report; it is empty when the worker died before it sent one."""
        with os.fdopen(self._read, "rb") as stream:
            data = stream.read(_MAX_REPORT_OCTETS)
        result: dict[str, object] = json.loads(data) if data else {}
        return result


class WorkerPool:
    """Forks `count` workers and keeps that many alive until it is stopped.

    `work(report, slot)` runs in each worker: it opens what it needs, sends a report, which the parent passes to
    `started`, serves until SIGTERM and returns. Slots count from 0; a worker that replaces another has its slot. The
    text of a TsaError that `work` raises before the report is shown to the operator. The parent calls `idle(seconds)`
    repeatedly while it has nothing else to do; it returns after about so many seconds, or after an event. `hung_up`
    handles SIGHUP in the parent; workers ignore it.
    """

    def __init__(
        self,
        work: Callable[[Callable[[Mapping[str, object]], None], int], None],
        *,
        count: int,
        idle: Callable[[float], None] = time.sleep,
        hung_up: Callable[..., None] | None = None,
    ) -> None:
        self._work = work
        self._idle = idle
        self._hung_up = hung_up
        self._count = count
        self._stopping = False
        self._alive: dict[int, tuple[float, int]] = {}
        """By process id: when the worker started, and its slot."""

    def run(self, started: Callable[[Mapping[str, object]], None], *, graceful_seconds: float) -> None:
        """Serve until SIGTERM or SIGINT; raises ConfigError when the first workers cannot start."""
        for number in _ENDS:
            signal.signal(number, self._stop)
        if self._hung_up is not None:
            signal.signal(signal.SIGHUP, self._hung_up)
        reports = self._fork_all(graceful_seconds)
        messages = [report.receive() for report in reports]
        failures = [str(message.get("error", "a worker ended before it served")) for message in messages]
        if not all(message.get("serves") for message in messages):
            self._stop()
            self._reap(time.monotonic() + graceful_seconds + _KILL_SLACK_SECONDS)
            wrong, message = next(each for each in zip(failures, messages, strict=True) if not each[1].get("serves"))
            raise UnavailableError(wrong) if message.get("temporary") else ConfigError(wrong)
        started(messages[0])
        self._supervise()
        self._reap(time.monotonic() + graceful_seconds + _KILL_SLACK_SECONDS)

    def _fork_all(self, graceful_seconds: float) -> list[Report]:
        try:
            return [self._fork(slot) for slot in range(self._count)]
        except OSError as error:
            forked = len(self._alive)
            self._stop()
            self._reap(time.monotonic() + graceful_seconds + _KILL_SLACK_SECONDS)
            raise ConfigError(
                f"only {forked} of {self._count} workers can be started: {error.strerror}; ask for fewer, or allow "
                "more processes (ulimit -u, systemd's TasksMax, a container's pids limit)",
                path="server.workers",
            ) from None

    def _fork(self, slot: int) -> Report:
        report = Report()
        sys.stdout.flush()
        sys.stderr.flush()
        # Else a signal right after the fork would run the parent's handler in the worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            child = os.fork()
            if child == 0:
                self._be_worker(report, slot)
            self._alive[child] = time.monotonic(), slot
        except OSError:
            report.receive_nothing()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        report.expect()
        return report

    def _be_worker(self, report: Report, slot: int) -> NoReturn:
        """Run `work` and exit; the worker must not return into the parent's stack."""
        code = 1
        try:
            for number in _ENDS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            self._work(lambda message: report.send({"serves": True, **message}), slot)
            code = 0
        except TsaError as error:
            if report.sent:
                log.error("a worker cannot go on: %s", error)  # noqa: TRY400 - the operator's own mistake
            else:
                report.send({"error": str(error), "temporary": isinstance(error, TemporaryFailure)})
        except BaseException:
            log.exception("a worker failed")
        finally:
            logging.shutdown()
            os._exit(code)

    def _supervise(self) -> None:
        pause = 0.0
        while not self._stopping:
            ended = self._wait()
            if ended is None or self._stopping:
                continue
            child, status, lived, slot = ended
            log.error("worker %d ended by itself (status %d) and is replaced", child, status)
            pause = min(max(0.1, 2 * pause), _MAX_PAUSE_SECONDS) if lived < _SHORT_LIFE_SECONDS else 0.0
            self._rest(pause)
            self._replace(slot)

    def _replace(self, slot: int) -> None:
        """Fork a worker for a slot, retrying, and wait until it has reported that it serves, or why it cannot."""
        while not self._stopping:
            try:
                message = self._fork(slot).receive()
            except OSError as error:
                log.error("no worker can be started: %s; tried again", error)  # noqa: TRY400 - the system's own words
                self._rest(_MAX_PAUSE_SECONDS)
                continue
            if "error" in message:
                log.error("a worker cannot serve: %s", message["error"])
            return

    def _rest(self, seconds: float) -> None:
        """Wait; meanwhile `idle` is called, and SIGTERM ends the wait."""
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            self._idle(min(left, _TURN_SECONDS))

    def _wait(self) -> tuple[int, int, float, int] | None:
        """Check whether a worker has ended; returns process id, status, lifetime in seconds and slot."""
        for each in list(self._alive):
            # Each by its id: other children of this process must not be reaped here.
            child, status = os.waitpid(each, os.WNOHANG)
            if child:
                born, slot = self._alive.pop(child)
                return child, status, time.monotonic() - born, slot
        self._idle(_TURN_SECONDS)
        return None

    def _stop(self, *_: object) -> None:
        notify_stopping()
        self._stopping = True
        for child in self._alive:
            self._kill(child, signal.SIGTERM)

    @staticmethod
    def _kill(child: int, number: signal.Signals) -> None:
        try:
            os.kill(child, number)
        except ProcessLookupError:
            log.debug("worker %d had already ended", child)

    def _reap(self, deadline: float) -> None:
        """Wait for all workers; those that have not ended by the deadline are killed."""
        while self._alive:
            ended = [child for child in self._alive if os.waitpid(child, os.WNOHANG)[0]]
            for child in ended:
                del self._alive[child]
            if ended:
                continue
            if time.monotonic() > deadline:
                for each in self._alive:
                    log.warning("worker %d did not end in time and is killed", each)
                    self._kill(each, signal.SIGKILL)
                deadline = float("inf")
            else:
                time.sleep(0.02)
