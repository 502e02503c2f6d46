"""Several processes on the same listening sockets.

The parent binds, opens what processes can share, and forks. Each worker opens the rest, because connections and threads
do not survive a fork. A worker that dies or hangs is replaced. SIGTERM and SIGINT shut all of them down.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from tsa_core.api import ConfigError, TemporaryFailure, TsaError, UnavailableError
from tsa_core.hosting.answered import Answered
from tsa_core.hosting.ending import KILL_SLACK_SECONDS
from tsa_core.hosting.notify import notify_stopping
from tsa_core.hosting.system_limits import limits_in_words
from tsa_core.hosting.workers.watchdog import Watchdog

log = logging.getLogger(__name__)

_ENDS = (signal.SIGTERM, signal.SIGINT)
_HANDLED = (*_ENDS, signal.SIGHUP)
_MAX_REPORT_OCTETS = 1_048_576
_SHORT_LIFE_SECONDS = 5.0
_MAX_PAUSE_SECONDS = 10.0
_TURN_SECONDS = 0.2
_START_SECONDS = 300.0
"""Opening has limits of its own ([server] open_timeout for each plugin); this is for what hangs beside them."""


def exit_code_of_worker(answered: Answered) -> int:
    """Return the exit code that tells the parent whether every request was answered."""
    return int(answered)


def _told_by(status: int) -> Answered:
    """Return what the wait status of a worker tells; one that died has lost its requests."""
    try:
        return Answered(os.waitstatus_to_exitcode(status))
    except ValueError:
        return Answered.NOT_ALL


class Report:
    """A worker's message to its parent: that it serves, with its facts, or why it cannot."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._received = b""
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
        os.set_blocking(self._read, False)

    def receive_nothing(self) -> None:
        """In the parent, when there is no worker."""
        os.close(self._read)
        os.close(self._write)

    def poll(self, seconds: float = 0.0) -> dict[str, object] | None:
        """In the parent: return the report, empty when the worker ended without one; None when it has not come yet."""
        ready = select.poll()
        ready.register(self._read, select.POLLIN)
        while ready.poll(seconds * 1000):
            data = os.read(self._read, 65_536)
            self._received += data
            if not data or len(self._received) > _MAX_REPORT_OCTETS:
                os.close(self._read)
                result: dict[str, object] = json.loads(self._received) if self._received else {}
                return result
        return None


@dataclass(kw_only=True)
class _Slot:
    """A worker, `pid` None while there is none, and when the next one may be started in its place."""

    pid: int | None = None
    born: float = 0.0
    due: float = 0.0
    pause: float = 0.0
    report: Report | None = None
    """The report that has not come yet."""
    killed: bool = False


class WorkerPool:
    """Forks `count` workers and keeps that many alive until it is stopped.

    `work(report, slot)` runs in each worker: it opens what it needs, sends a report, which the parent passes to
    `started`, serves until SIGTERM and returns what it knows of the requests, None when all were answered. Slots count
    from 0; a worker that replaces another has its slot. The text of a TsaError that `work` raises before the report is
    shown to the operator. The parent calls `idle(seconds)` repeatedly while it has nothing else to do; it returns after
    about so many seconds, or after an event. `hung_up` handles SIGHUP in the parent; workers ignore it. A signal that
    ends the parent calls `told_to_stop`, in the signal handler, and `while_ending` again and again while it waits for
    the workers' end. A worker that the `watchdog` finds overdue is killed and replaced.
    """

    def __init__(
        self,
        work: Callable[[Callable[[Mapping[str, object]], None], int], Answered | None],
        *,
        count: int,
        idle: Callable[[float], None] = time.sleep,
        hung_up: Callable[..., None] | None = None,
        told_to_stop: Callable[[], None] = lambda: None,
        while_ending: Callable[[], None] = lambda: None,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._work = work
        self._idle = idle
        self._hung_up = hung_up
        self._told_to_stop = told_to_stop
        self._while_ending = while_ending
        self._stop_at = 0.0
        self._watchdog = watchdog
        self._stopping = False
        self._answered = Answered.ALL
        self._slots = [_Slot() for _ in range(count)]

    def run(self, started: Callable[[Mapping[str, object]], None], *, graceful_seconds: float) -> Answered:
        """Serve until SIGTERM or SIGINT, and return what all workers tell; raises ConfigError at a bad start.

        It is an UnavailableError when another start may succeed, also after a worker that ended without a word.
        """
        for number in _ENDS:
            signal.signal(number, self._stop)
        if self._hung_up is not None:
            signal.signal(signal.SIGHUP, self._hung_up)
        reports = self._fork_all(graceful_seconds)
        messages = [self._receive(report) for report in reports]
        wrong = next((message for message in messages if not message.get("serves")), None)
        if wrong is not None and not self._stopping:
            self._stop()
            self._reap(time.monotonic() + graceful_seconds + KILL_SLACK_SECONDS)
            text = str(wrong.get("error", "a worker ended before it served; the lines above may say why"))
            raise UnavailableError(text) if wrong.get("temporary", True) else ConfigError(text)
        if wrong is None:
            started(messages[0])
        while not self._stopping:
            self._supervise()
            self._idle(_TURN_SECONDS)
        self._reap(self._stop_at + graceful_seconds + KILL_SLACK_SECONDS)
        return self._answered

    def _receive(self, report: Report) -> dict[str, object]:
        """Wait for a report at the start; empty when it does not come in time."""
        deadline = time.monotonic() + _START_SECONDS
        while (message := report.poll(_TURN_SECONDS)) is None:
            if time.monotonic() > deadline:
                return {"error": f"a worker has not begun to serve within {_START_SECONDS:g} s"}
        return message

    def _fork_all(self, graceful_seconds: float) -> list[Report]:
        try:
            return [self._fork(number) for number in range(len(self._slots))]
        except OSError as error:
            forked = len(self._alive())
            self._stop()
            self._reap(time.monotonic() + graceful_seconds + KILL_SLACK_SECONDS)
            raise UnavailableError(
                f"only {forked} of {len(self._slots)} workers can be started: {error.strerror}; ask for fewer, or "
                "allow more processes (ulimit -u, systemd's TasksMax, a container's pids limit)",
                path="server.workers",
            ) from None

    def _alive(self) -> list[_Slot]:
        return [slot for slot in self._slots if slot.pid is not None]

    def _fork(self, number: int) -> Report:
        report = Report()
        if self._watchdog is not None:
            self._watchdog.clear(number)
        sys.stdout.flush()
        sys.stderr.flush()
        # Else a signal right after the fork would run the parent's handler in the worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            child = os.fork()
            if child == 0:
                self._be_worker(report, number)
            slot = self._slots[number]
            slot.pid, slot.born, slot.killed = child, time.monotonic(), False
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
            with limits_in_words():
                answered = self._work(lambda message: report.send({"serves": True, **message}), slot)
            code = exit_code_of_worker(answered or Answered.ALL)
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

    def look(self) -> None:
        """While the parent waits for something else: kill workers that hang; `run` replaces those that have ended."""
        for number, slot in enumerate(self._slots):
            if not self._stopping and slot.pid is not None and not slot.killed:
                self._kill_if_hung(number, slot)

    def _supervise(self) -> None:
        """Look after each worker once, without waiting for any."""
        for number, slot in enumerate(self._slots):
            if self._stopping:
                return
            if slot.pid is None:
                if time.monotonic() >= slot.due:
                    self._replace(number, slot)
                continue
            # By its id: other children of this process must not be reaped here.
            child, status = os.waitpid(slot.pid, os.WNOHANG)
            self._hear(slot)
            if child:
                self._note_end(slot, status)
        self.look()

    def _note_end(self, slot: _Slot, status: int) -> None:
        """Decide when a worker that has ended is replaced: at once, or after pauses that grow while none lasts."""
        now = time.monotonic()
        short = now - slot.born < _SHORT_LIFE_SECONDS and not slot.killed
        slot.pause = min(max(0.1, 2 * slot.pause), _MAX_PAUSE_SECONDS) if short else 0.0
        slot.due = now + slot.pause
        self._answered = Answered.NOT_ALL  # whatever it was answering is lost
        log.error("worker %d ended by itself (status %d) and is replaced", slot.pid, status)
        slot.pid = slot.report = None

    def _replace(self, number: int, slot: _Slot) -> None:
        try:
            slot.report = self._fork(number)
        except OSError as error:
            log.error("no worker can be started: %s; tried again", error)  # noqa: TRY400 - the system's own words
            slot.due = time.monotonic() + _MAX_PAUSE_SECONDS

    @staticmethod
    def _hear(slot: _Slot) -> None:
        """Log why a worker that was started in another's place cannot serve."""
        if slot.report is not None and (message := slot.report.poll()) is not None:
            slot.report = None
            if "error" in message:
                log.error("a worker cannot serve: %s", message["error"])

    def _kill_if_hung(self, number: int, slot: _Slot) -> None:
        overdue = self._watchdog.overdue_seconds(number) if self._watchdog is not None else 0.0
        if overdue:
            log.error("worker %d has not answered for %.0f s; it is killed and replaced", slot.pid, overdue)
        elif slot.report is not None and time.monotonic() - slot.born > _START_SECONDS:
            log.error("worker %d has not begun to serve within %g s; it is killed", slot.pid, _START_SECONDS)
        else:
            return
        slot.killed = True
        self._kill(slot, signal.SIGKILL)

    def _stop(self, *_: object) -> None:
        notify_stopping()
        if not self._stopping:
            self._stopping = True
            self._stop_at = time.monotonic()
            self._told_to_stop()
        for slot in self._alive():
            self._kill(slot, signal.SIGTERM)

    @staticmethod
    def _kill(slot: _Slot, number: signal.Signals) -> None:
        if slot.pid is None:
            return
        try:
            os.kill(slot.pid, number)
        except ProcessLookupError:
            log.debug("worker %d had already ended", slot.pid)

    def _reap(self, deadline: float) -> None:
        """Wait for all workers; those that have not ended by the deadline are killed."""
        while alive := self._alive():
            for slot in alive:
                if slot.pid is None:
                    continue
                ended, status = os.waitpid(slot.pid, os.WNOHANG)
                if ended:
                    slot.pid = None
                    self._answered = max(self._answered, _told_by(status))
            self._while_ending()
            if self._alive() != alive:
                continue
            if time.monotonic() > deadline:
                for slot in alive:
                    log.warning("worker %d did not end in time and is killed", slot.pid)
                    self._kill(slot, signal.SIGKILL)
                deadline = float("inf")
            else:
                time.sleep(0.02)
