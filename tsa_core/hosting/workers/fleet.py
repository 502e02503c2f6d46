"""How a parent and its workers change the configuration at the same time.

Each worker makes a pipe when it starts and sends one end to its parent, through a socket that both have had since
before the fork. A reload has two phases. First all workers prepare: they open and check the new configuration beside
the current one. Only when all have done so, all commit. If one cannot, all drop the new configuration. So old and new
serve side by side only for the time that the messages take.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from time import monotonic
from typing import Any

from tsa_core.api import ClockMonitor, ConfigError, TemporaryFailure, TsaError, UnavailableError
from tsa_core.config import Settings
from tsa_core.hosting.facts import Facts
from tsa_core.service import LiveService, Material, Service
from tsa_core.values import Value

log = logging.getLogger(__name__)

_PREPARE_SECONDS = 120.0
_COMMIT_SECONDS = 30.0
_MEANWHILE_SECONDS = 0.2


class Plan(Value):
    """What every process of a server serves; picklable. `clock_bank` is the bank of the clock's verdicts.

    Each plan has a `number` of its own, also one that was dropped: so a late answer can be told from an expected one.
    """

    number: int
    settings: Settings
    material: Material
    clock_bank: int = 0


@dataclass(kw_only=True)
class _Member:
    pid: int
    number: int
    """The number of the plan that it serves."""


class WorkerFleet:
    """The parent's connections to its workers; made before the first fork, and used by one thread of the parent.

    `describe` returns the facts of a service, which a worker sends to its parent. `meanwhile` is called several times a
    second while the parent waits for workers to carry out a command; `give_up` ends such waits.
    """

    def __init__(self, describe: Callable[[Service], Facts]) -> None:
        self._describe = describe
        self.meanwhile: Callable[[], None] = lambda: None
        self._given_up = False
        self._parent_end, self._worker_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._parent_end.setblocking(False)  # recv_fds takes flags and, in CPython 3.11, drops them
        self._members: dict[Connection, _Member] = {}
        self._current: Plan | None = None

    # -- in a worker --------------------------------------------------------------------------------------------

    def join(
        self, live: LiveService, plan: Plan, monitors: Callable[[Plan], Mapping[str, ClockMonitor] | None]
    ) -> None:
        """In a worker that serves `plan`: follow the parent's commands, in a thread; shut down when the parent dies."""
        self._parent_end.close()
        for channel in list(self._members):
            channel.close()  # inherited; while they are open, other workers do not notice the parent's end
        mine, parents = Pipe()
        hello = plan.number.to_bytes(8, "big") + os.getpid().to_bytes(8, "big")
        socket.send_fds(self._worker_end, [hello], [parents.fileno()])
        parents.close()
        self._worker_end.close()
        threading.Thread(target=self._follow, args=(mine, live, monitors), name="reload", daemon=True).start()

    def _follow(
        self,
        channel: Connection,
        live: LiveService,
        monitors: Callable[[Plan], Mapping[str, ClockMonitor] | None],
    ) -> None:
        while True:
            try:
                command, number, plan = channel.recv()
                answer = self._carry_out(command, live, plan, monitors)
                if answer is not None:
                    channel.send((number, *answer))
            except (EOFError, OSError):
                break
        log.warning("the parent process is gone; this worker finishes what is in flight and ends")
        os.kill(os.getpid(), signal.SIGTERM)

    def _carry_out(
        self,
        command: str,
        live: LiveService,
        plan: Plan | None,
        monitors: Callable[[Plan], Mapping[str, ClockMonitor] | None],
    ) -> tuple[str, Any] | None:
        """Carry out one command and return the answer; no failure may end the thread."""
        try:
            if command == "prepare" and plan is not None:
                service = live.prepare(plan.settings, material=plan.material, monitors=monitors(plan))
                return "done", self._describe(service)
            if command == "commit":
                live.commit()
                return "done", None
            live.abort()
        except TsaError as error:
            return "refused", (str(error), isinstance(error, TemporaryFailure))
        except Exception as error:
            log.exception("a reload failed in this worker")
            return "refused", (f"a worker failed: {type(error).__name__}; the log has more", False)
        return None

    # -- in the parent ------------------------------------------------------------------------------------------

    def start(self, plan: Plan) -> None:
        """Set the plan that new workers start with."""
        self._current = plan

    def close(self) -> None:
        """Close the connections. The process that started the workers ends them."""
        for channel in self._members:
            channel.close()
        self._parent_end.close()
        self._worker_end.close()

    def give_up(self) -> None:
        """Wait for no worker any more: the server ends. Safe in a signal handler."""
        self._given_up = True

    def poll(self, timeout: float) -> None:
        """Register new workers, remove dead ones, and update those that started with an older plan."""
        for ready in wait([self._parent_end, *self._members], timeout):
            if ready is self._parent_end:
                self._register()
            elif isinstance(ready, Connection):
                self._receive(ready)
        current = self._current
        for channel, member in list(self._members.items()):
            if current is not None and member.number != current.number:
                self._update(channel, member, current)

    def prepare(self, plan: Plan) -> Facts:
        """Let all workers open a new plan, or none; returns the facts, raises ConfigError with the reason.

        The caller then lets new workers start with `plan`, and calls `commit`.
        """
        self.poll(0)
        members = list(self._members)
        if not members:
            raise UnavailableError("no worker is there to reload; ask again in a moment")
        try:
            answers = self._command(members, "prepare", plan, seconds=_PREPARE_SECONDS)
        except ConfigError:
            self._tell(members, "abort", plan.number)
            raise
        facts: Facts = answers[members[0]]
        return facts

    def commit(self, plan: Plan) -> None:
        """Let all workers use the plan that they have prepared. A worker that fails is ended and replaced."""
        self._current = plan
        for channel in list(self._members):
            try:
                self._command([channel], "commit", plan, seconds=_COMMIT_SECONDS)
                self._members[channel].number = plan.number
            except (ConfigError, KeyError):
                self._end(channel)

    def _register(self) -> None:
        """Register all workers that have started, so that a reload right after the start includes them."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._parent_end, 16, 1)
            except BlockingIOError:
                return
            if len(data) == 16 and len(descriptors) == 1:
                member = _Member(pid=int.from_bytes(data[8:], "big"), number=int.from_bytes(data[:8], "big"))
                self._members[Connection(descriptors[0])] = member

    def _receive(self, channel: Connection) -> tuple[int, str, Any] | None:
        """Return a worker's answer; None when the worker has ended."""
        try:
            answer: tuple[int, str, Any] = channel.recv()
        except (EOFError, OSError):
            self._members.pop(channel, None)
            channel.close()
            return None
        return answer

    def _tell(self, channels: list[Connection], command: str, number: int, plan: Plan | None = None) -> None:
        for channel in channels:
            with contextlib.suppress(OSError):  # the worker has ended; the next read notices
                channel.send((command, number, plan))

    def _command(
        self, channels: list[Connection], command: str, plan: Plan, *, seconds: float
    ) -> dict[Connection, Any]:
        """Send a command to workers and return their answers; raises ConfigError at the first failure."""
        self._tell(channels, command, plan.number, plan if command == "prepare" else None)
        deadline = monotonic() + seconds
        answers: dict[Connection, Any] = {}
        while waiting := [channel for channel in channels if channel not in answers]:
            ready = wait(waiting, _MEANWHILE_SECONDS)
            if self._given_up:
                raise ConfigError("the server ends; the new configuration is not used")
            self.meanwhile()
            if not ready and monotonic() > deadline:
                pids = ", ".join(str(self._members[channel].pid) for channel in waiting)
                raise UnavailableError(f"a worker did not open the new configuration within {seconds:g} s (pid {pids})")
            for channel in ready:
                assert isinstance(channel, Connection)  # noqa: S101 - only these were given to wait()
                answer = self._receive(channel)
                if answer is None:
                    raise UnavailableError("a worker ended while it opened the new configuration; ask again")
                number, outcome, content = answer
                if number != plan.number:
                    continue  # the late answer to a command that was given up
                if outcome == "refused":
                    text, passes = content
                    raise (UnavailableError if passes else ConfigError)(text)
                answers[channel] = content
        return answers

    def _update(self, channel: Connection, member: _Member, plan: Plan) -> None:
        """Update a worker that was forked before a reload and registered after it."""
        try:
            for command in ("prepare", "commit"):
                self._command([channel], command, plan, seconds=_PREPARE_SECONDS)
            member.number = plan.number
        except ConfigError as error:
            log.warning("worker %d cannot take the current configuration and is replaced: %s", member.pid, error)
            self._end(channel)

    def _end(self, channel: Connection) -> None:
        member = self._members.pop(channel, None)
        if member is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGTERM)
        channel.close()
