"""The thread that asks one time server, for as long as the monitor lives.

Whether a server is being asked follows from its thread: when the thread could not be started, or has died, the server
can be asked again in the next round. So nothing that fails once can keep a server out until a restart.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import replace
from typing import TypeAlias

from tsa_core.api.clock import Clock
from tsa_core.api.ntp.peer import Peer
from tsa_core.api.ntp.query import Sample

log = logging.getLogger(__name__)

Answers: TypeAlias = "queue.SimpleQueue[tuple[Peer, Sample | None]]"


class PeerThread:
    """Asks `peer` when told; used by the monitor's thread alone. `late_after` is in seconds.

    A question that takes longer than `late_after` hangs where no time limit reaches, in the resolver for example.
    """

    def __init__(self, peer: Peer, stopping: threading.Event, *, late_after: float) -> None:
        self.peer = peer
        self._stopping = stopping
        self._late_after = late_after
        self._questions: queue.SimpleQueue[tuple[Clock, Answers] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._asked_at: float | None = None
        self._problem = ""

    def free(self) -> bool:
        """Whether the last question is over; if it is late, the server's report and the log say so."""
        asked_at = self._asked_at
        if asked_at is None or self._thread is None or not self._thread.is_alive():
            return True
        if time.monotonic() - asked_at > self._late_after:
            self._note("the last question has not come back; does the resolver hang?")
        return False

    def ask(self, clock: Clock, answers: Answers) -> bool:
        """Put a question, whose answer or None comes into `answers`; return False when there is no thread for it."""
        if self._thread is None or not self._thread.is_alive():
            # What an earlier thread left unread must not be asked now.
            self._questions = queue.SimpleQueue()
            thread = threading.Thread(
                target=self._run, args=(self._questions,), name=f"{self.peer.kind}-peer {self.peer.name}", daemon=True
            )
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                self._note(f"not asked: {error}")
                return False
            self._thread = thread
        if self._problem:
            log.info("the time server %s can be asked again", self.peer.name)
            self._problem = ""
        self._asked_at = time.monotonic()
        self._questions.put((clock, answers))
        return True

    def stop(self) -> None:
        """End the thread when its question is over."""
        self._questions.put(None)

    def _note(self, problem: str) -> None:
        self.peer.report = replace(self.peer.report, outcome=problem, used=None, offset=None, uncertainty=None)
        if not self._problem:
            log.error("the time server %s: %s", self.peer.name, problem)
        self._problem = problem

    def _run(self, questions: queue.SimpleQueue[tuple[Clock, Answers] | None]) -> None:
        while (question := questions.get()) is not None:
            clock, answers = question
            sample = None
            try:
                sample = self.peer.ask(clock, self._stopping)
            except Exception:
                log.exception("the question to %s failed", self.peer.name)
            finally:
                self._asked_at = None
                answers.put((self.peer, sample))
