"""How a parent and its workers change the configuration together.

Each worker makes a channel for itself when it starts and hands one end to its parent, through a socket that both had
before the fork: so it does not matter who forks, we or granian. A reload then has two halves. First all workers open
and check the new configuration beside the one that serves; only when every one of them has, all are told to use it. If
one cannot, all drop it: old and new never serve side by side for longer than it takes to tell.
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

from tsa_core.api import ClockMonitor, ConfigError, TsaError
from tsa_core.config import Settings
from tsa_core.hosting.facts import Facts
from tsa_core.service import LiveService, Material, Service

log = logging.getLogger(__name__)

_PREPARE_SECONDS = 120.0
_COMMIT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every process of a server serves; picklable. `clock_bank` says where the clock's verdicts stand.

    No two plans have one `number`, those that were given up included: it tells a late answer from one that is awaited.
    """

    number: int
    settings: Settings
    material: Material
    clock_bank: int = 0


@dataclass(kw_only=True)
class _Member:
    pid: int
    number: int
    """Of the plan that it serves."""


class WorkerFleet:
    """The workers, as the parent sees them; made before the first fork, used by one thread of the parent.

    `describe` gives the facts of a service that a parent is told.
    """

    def __init__(self, describe: Callable[[Service], Facts]) -> None:
        self._describe = describe
        self._parent_end, self._worker_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._parent_end.setblocking(False)  # recv_fds takes flags and, in CPython 3.11, drops them
        self._members: dict[Connection, _Member] = {}
        self._current: Plan | None = None

    # -- in a worker --------------------------------------------------------------------------------------------

    def join(
        self, live: LiveService, plan: Plan, monitors: Callable[[Plan], Mapping[str, ClockMonitor] | None]
    ) -> None:
        """In a worker that serves `plan`: do what the parent says, in a thread; end in order when the parent dies."""
        self._parent_end.close()
        for channel in list(self._members):
            channel.close()  # inherited; while they are open, nobody notices that the parent is gone
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
                order, number, plan = channel.recv()
                answer = self._obey(order, live, plan, monitors)
                if answer is not None:
                    channel.send((number, *answer))
            except (EOFError, OSError):
                break
        log.warning("the parent process is gone; this worker finishes what is in flight and ends")
        os.kill(os.getpid(), signal.SIGTERM)

    def _obey(
        self,
        order: str,
        live: LiveService,
        plan: Plan | None,
        monitors: Callable[[Plan], Mapping[str, ClockMonitor] | None],
    ) -> tuple[str, Any] | None:
        """Carry out one order and return the answer; nothing that goes wrong may end the thread."""
        try:
            if order == "prepare" and plan is not None:
                service = live.prepare(plan.settings, material=plan.material, monitors=monitors(plan))
                return "done", self._describe(service)
            if order == "commit":
                live.commit()
                return "done", None
            live.abort()
        except TsaError as error:
            return "refused", str(error)
        except Exception as error:
            log.exception("a reload failed in this worker")
            return "refused", f"a worker failed: {type(error).__name__}; the log has more"
        return None

    # -- in the parent ------------------------------------------------------------------------------------------

    def start(self, plan: Plan) -> None:
        """Note what workers begin with."""
        self._current = plan

    def close(self) -> None:
        """Forget the workers, which end by themselves or by whoever started them."""
        for channel in self._members:
            channel.close()
        self._parent_end.close()
        self._worker_end.close()

    def poll(self, timeout: float) -> None:
        """Meet new workers, forget dead ones, and bring up to date whoever began with an older plan."""
        for ready in wait([self._parent_end, *self._members], timeout):
            if ready is self._parent_end:
                self._welcome()
            elif isinstance(ready, Connection):
                self._receive(ready)
        current = self._current
        for channel, member in list(self._members.items()):
            if current is not None and member.number != current.number:
                self._catch_up(channel, member, current)

    def exchange(self, plan: Plan) -> Facts:
        """Bring all workers to a new plan, or none; returns the facts, raises ConfigError with the reason.

        The caller makes `plan` what later workers start with, before it calls `settle`.
        """
        self.poll(0)
        members = list(self._members)
        if not members:
            raise ConfigError("no worker is there to reload; ask again in a moment")
        try:
            answers = self._order(members, "prepare", plan, seconds=_PREPARE_SECONDS)
        except ConfigError:
            self._tell(members, "abort", plan.number)
            raise
        facts: Facts = answers[members[0]]
        return facts

    def settle(self, plan: Plan) -> None:
        """Let all workers use the plan that they have prepared; one that does not is ended, and replaced."""
        self._current = plan
        for channel in list(self._members):
            try:
                self._order([channel], "commit", plan, seconds=_COMMIT_SECONDS)
                self._members[channel].number = plan.number
            except (ConfigError, KeyError):
                self._end(channel)

    def _welcome(self) -> None:
        """Meet all workers that have come, so that a reload right after the start leaves none for later."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._parent_end, 16, 1)
            except BlockingIOError:
                return
            if len(data) == 16 and len(descriptors) == 1:
                member = _Member(pid=int.from_bytes(data[8:], "big"), number=int.from_bytes(data[:8], "big"))
                self._members[Connection(descriptors[0])] = member

    def _receive(self, channel: Connection) -> tuple[int, str, Any] | None:
        """Return what a worker says; None when it is gone."""
        try:
            answer: tuple[int, str, Any] = channel.recv()
        except (EOFError, OSError):
            self._members.pop(channel, None)
            channel.close()
            return None
        return answer

    def _tell(self, channels: list[Connection], order: str, number: int, plan: Plan | None = None) -> None:
        for channel in channels:
            with contextlib.suppress(OSError):  # gone, which the next look at it finds out
                channel.send((order, number, plan))

    def _order(self, channels: list[Connection], order: str, plan: Plan, *, seconds: float) -> dict[Connection, Any]:
        """Tell workers to do something and return their answers; raises ConfigError as soon as one cannot."""
        self._tell(channels, order, plan.number, plan if order == "prepare" else None)
        deadline = monotonic() + seconds
        answers: dict[Connection, Any] = {}
        while waiting := [channel for channel in channels if channel not in answers]:
            ready = wait(waiting, max(0.0, deadline - monotonic()))
            if not ready:
                raise ConfigError(f"a worker did not open the new configuration within {seconds:g} s")
            for channel in ready:
                assert isinstance(channel, Connection)  # noqa: S101 - only these were given to wait()
                answer = self._receive(channel)
                if answer is None:
                    raise ConfigError("a worker ended while it opened the new configuration; ask again")
                number, outcome, content = answer
                if number != plan.number:
                    continue  # the late answer to an order that was given up
                if outcome == "refused":
                    raise ConfigError(content)
                answers[channel] = content
        return answers

    def _catch_up(self, channel: Connection, member: _Member, plan: Plan) -> None:
        """Bring a worker to the current plan that was forked before a reload and met after it."""
        try:
            for order in ("prepare", "commit"):
                self._order([channel], order, plan, seconds=_PREPARE_SECONDS)
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
