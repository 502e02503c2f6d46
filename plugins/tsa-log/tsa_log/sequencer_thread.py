"""The thread of a sink that integrates and publishes, in the one process of all that holds the lock."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from tsa_core.api import ConfigError
from tsa_core.api.transparency import NoteSigner, parse_verifier_key
from tsa_log.engine_sequencer import EngineSequencer, open_engine
from tsa_log.opening import open_storage
from tsa_log.options import LogOptions
from tsa_log.publisher import Publisher
from tsa_log.sequencer import Sequencer, SequencerLock
from tsa_log.state import StateFiles, Trouble
from tsa_log.storage import Conflict, Storage
from tsa_log.tree import DamagedLog
from tsa_log.witnesses import Witness, WitnessThread

log = logging.getLogger(__name__)

_LONGEST_PAUSE_SECONDS: Final = 10.0
"""How long a log that cannot go on waits at most before it tries again."""


class SequencerThread:
    """Takes the lock as soon as no other process has it, and integrates what the journals of all processes hold."""

    def __init__(self, options: LogOptions, signers: Sequence[NoteSigner]) -> None:
        self._options = options
        self._private = options.private
        self._signers = signers
        self._files = StateFiles(self._private)
        self._lock = SequencerLock(self._private)
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._witnesses: list[WitnessThread] | None = None
        """One thread for each, as long as this object lives: one that hangs is never followed by a second one."""
        self._storage: Storage | None = None
        """Opened by the thread, in the process that integrates."""
        self._told: Trouble | None = None
        """What this process told the others last; None when it told them nothing."""
        self.stopped = ""
        """Why the log is stopped, as this process knows it; empty while it goes on."""
        self.trouble = Trouble()
        """Why the log does not get on, as this process knows it."""

    def forget(self) -> None:
        """In a process that was forked: the parent's lock is not ours."""
        self._lock.give_back()

    def close(self) -> None:
        """Integrate what waits, if no other process does, and stop."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(self._options.longest_step.total_seconds() + 1)
        for witness in self._witnesses or ():
            witness.close()
        if self._storage is not None:
            self._storage.close()

    def keep_running(self) -> None:
        """Start the thread unless it runs; of two, each would take the other's lock for its own."""
        with self._starting:
            if self._stopping.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            thread = threading.Thread(target=self._run, name="log-sequencer", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                self._fail(Trouble(f"its thread cannot be started: {error}"))
                return
            self._thread = thread

    def _run(self) -> None:
        interval = self._options.interval.total_seconds()
        pause = interval
        while True:
            ending = self._stopping.wait(pause)
            try:
                if self._lock.take():
                    self._sequence(ending=ending)
            except Conflict as error:
                self._fail(Trouble(str(error), conflict=True))
            except (OSError, ConfigError, DamagedLog) as error:
                self._fail(Trouble((error.strerror if isinstance(error, OSError) else None) or str(error)))
            except Exception:
                log.exception("the log cannot go on")
                self._fail(Trouble("see the log file"))
            finally:
                if ending or self.stopped:
                    self._lock.give_back()
            if ending:
                return
            pause = max(interval, min(2 * pause, _LONGEST_PAUSE_SECONDS)) if self.trouble.reason else interval

    def _sequence(self, *, ending: bool) -> None:
        """Integrate and publish until told to stop, as the one process that does."""
        interval = self._options.interval.total_seconds()
        storage = self._storage = self._storage or open_storage(self._options)
        publisher = self._publisher(storage)
        with closing(self._sequencer(storage)) as sequencer:
            while True:
                more = sequencer.step()
                self.stopped = sequencer.state.stopped
                signed = sequencer.checkpoint
                if signed is None or publisher.publish(signed, sequencer.state.consumed):
                    sequencer.clear(publisher.published)
                    self._tell(Trouble(sequencer.failure))
                else:
                    self._tell(Trouble(publisher.lacking))
                if ending or self.stopped:
                    return
                if not more:
                    ending = self._stopping.wait(interval)

    def _sequencer(self, storage: Storage) -> Sequencer | EngineSequencer:
        options = self._options
        if options.tessera is not None:
            return open_engine(options, options.tessera, self._private, storage)
        return Sequencer(self._private, storage, options.origin, options.max_disorder, self._signers)

    def _publisher(self, storage: Storage) -> Publisher:
        options = self._options
        seconds = options.witness_timeout.total_seconds()
        keys = {each: parse_verifier_key(each.key) for each in options.witnesses}
        if self._witnesses is None:
            self._witnesses = [
                WitnessThread(Witness(each.url, key, storage), seconds) for each, key in keys.items() if each.url
            ]
        return Publisher(
            self._private,
            storage,
            self._witnesses,
            threshold=options.witness_threshold,
            seconds=seconds,
            cosigners=[key for each, key in keys.items() if not each.url],
        )

    def _fail(self, trouble: Trouble) -> None:
        if trouble != self.trouble:
            log.error("the log %s cannot be continued: %s", self._options.origin, trouble.reason)
        try:
            self._tell(trouble)
        except OSError as error:
            log.error("the other processes cannot be told: %s", error.strerror)  # noqa: TRY400 - no traceback

    def _tell(self, trouble: Trouble) -> None:
        """Let health, in all processes, know why the log does not get on."""
        self.trouble = trouble
        if trouble != self._told:
            self._files.tell_trouble(trouble)
            self._told = trouble
