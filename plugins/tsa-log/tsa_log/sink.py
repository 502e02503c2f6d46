"""The audit sink: an entry is on the disk before its token leaves, and in the published tree soon after.

Permissions: write access to `directory`; with witnesses, connections to them. The public files hold hashes, genTime and
the certificate's hash, nothing about requesters or documents.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from tsa_core.api import (
    AuditError,
    AuditRecord,
    AuditSink,
    ConfigError,
    HealthStatus,
    ProfileSummary,
    cannot_write,
    sends_cleartext,
)
from tsa_core.api.transparency import EncodingError, NoteSigner, entry_of
from tsa_log.journal import Journal, Place
from tsa_log.keys import signers_of
from tsa_log.opening import open_storage
from tsa_log.options import LogOptions
from tsa_log.sequencer import went_back
from tsa_log.sequencer_thread import SequencerThread
from tsa_log.state import LogState, Published, StateFiles

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.02
_PROBE_SECONDS: Final = 60.0


class LogSink(AuditSink):
    """Stores entries in this process's journal, and integrates those of all processes if no other process does."""

    def __init__(self, options: LogOptions, signers: Sequence[NoteSigner]) -> None:
        self._options = options
        self._private = options.private
        self._pending = self._private / "pending"
        self._signers = signers
        self._wait = dict(options.wait)
        self.latency = "remote" if self._wait else "local"
        self._disorder = options.max_disorder
        self._files = StateFiles(self._private)
        self._journal = Journal(self._pending)
        self._closed = False
        self._start_anew()
        _living.add(self)

    def _start_anew(self) -> None:
        """Begin without threads and locks, at first and in a process that was forked from one that had them."""
        self._sequencing = SequencerThread(self._options, self._signers)
        self._newest: datetime | None = None
        self._accepted: int | None = None
        self._wish = ""
        """Why this process wants the log to be stopped; empty once the others can know."""
        self._stored_at = 0.0
        self._last: tuple[float, Place] | None = None
        """The newest entry, and when it was stored."""
        self._waiting: tuple[float, Place] | None = None
        """An entry that is not published yet, and when it was stored: the oldest one that `health` knows of."""
        self._overdue = False
        self._journal_failure: OSError | None = None

    def after_fork(self) -> None:
        """In a new process: the parent's journal and lock must not be used here."""
        self._journal.forget()
        self._sequencing.forget()
        self._start_anew()

    def start(self) -> None:
        """Integrate what waits from now on, if no other process does."""
        self._sequencing.keep_running()

    def bind(self, profiles: Sequence[ProfileSummary], timeout: timedelta) -> None:
        """Refuse settings that wait for a profile that does not exist, or for longer than the core waits."""
        self._options.check_profiles((profile.name for profile in profiles), timeout)

    def write(self, record: AuditRecord) -> None:
        """Store one record."""
        self.write_all([record])

    def write_all(self, records: Sequence[AuditRecord]) -> None:
        """Store the entries of tokens that leave together; raises AuditError, and none of them leaves."""
        if not records:
            return
        if self._closed:
            raise AuditError("the log is closed")
        if reason := self._why_closed():
            raise AuditError(reason)
        try:
            entries = [entry_of(record.response).encode() for record in records]
        except (EncodingError, ValueError) as error:
            raise AuditError(f"a reply has no entry in the log: {error}") from None
        self._check_order(records)
        place = self._store(entries)
        self._last = (self._stored_at, place)
        self._sequencing.keep_running()
        if self._wait and (kinds := {self._wait[each.profile] for each in records if each.profile in self._wait}):
            self._wait_for(place, published="witnessed" in kinds)

    def _why_closed(self) -> str:
        if reason := self._sequencing.stopped or self._wish:
            return f"the log is stopped: {reason}"
        if self._sequencing.trouble.conflict:
            return f"the log cannot be continued: {self._sequencing.trouble.reason}"
        if self._overdue and self._options.required:
            why = self._sequencing.trouble.reason or "see the log of the process that publishes"
            return f"the log has published nothing new for {self._options.max_delay.total_seconds():g} s: {why}"
        return ""

    def _check_order(self, records: Sequence[AuditRecord]) -> None:
        """Raise AuditError when a record is older than what went before it, by more than the clock may go back."""
        oldest = min(record.gen_time for record in records)
        newest = max(record.gen_time for record in records)
        if self._newest is not None and oldest < self._newest - self._disorder:
            self._sequencing.stopped = self._wish = went_back((self._newest - oldest).total_seconds())
            self._ask_to_stop()
            raise AuditError(f"the log is stopped: {self._sequencing.stopped}")
        if self._newest is None or newest > self._newest:
            self._newest = newest

    def _ask_to_stop(self) -> None:
        """Let all processes know that this one wants a stop; what cannot be written down now is tried again."""
        if not (wish := self._wish):
            return
        try:
            self._files.ask_to_stop(wish)
        except OSError as error:
            log.error("the log cannot be stopped for all processes: %s", error.strerror)  # noqa: TRY400 - no traceback
        else:
            self._wish = ""

    def _store(self, entries: Sequence[bytes]) -> Place:
        try:
            place = self._journal.store(entries)
        except OSError as error:
            self._journal_failure = error
            raise AuditError(f"the log's journal cannot be written: {error.strerror}") from error
        self._journal_failure = None
        self._stored_at = monotonic()
        return place

    def _wait_for(self, place: Place, *, published: bool) -> None:
        """Wait until the sequencer, in whatever process it is, has what was stored."""
        deadline = monotonic() + self._options.wait_timeout.total_seconds()
        pause = threading.Event()
        while True:
            if self._is_done(place, self._files.read_published() if published else self._read_state()):
                return
            if monotonic() > deadline:
                what = "a published checkpoint" if published else "the tree"
                raise AuditError(f"the token is not in {what} after {self._options.wait_timeout.total_seconds():g} s")
            pause.wait(_POLL_SECONDS)

    def _is_done(self, place: Place, state: LogState | Published) -> bool:
        # A journal that is gone is published: nobody removes it before.
        return state.consumed.get(place.journal, 0) >= place.end or not (self._pending / place.journal).exists()

    def _read_state(self) -> LogState:
        try:
            return self._files.read(self._options.origin)
        except (OSError, ConfigError) as error:
            raise AuditError(f"the log's state cannot be read: {error}") from None

    def probe(self) -> None:
        """Store an empty record, which becomes no entry; raises AuditError when a token's would fail."""
        self._store([b""])

    def health(self) -> HealthStatus:
        """Say whether entries can be stored and are published; store a probe when nobody stored anything."""
        if self._closed:
            return HealthStatus(healthy=False, reason="the log is closed")
        self._sequencing.keep_running()
        idle = monotonic() - self._stored_at > _PROBE_SECONDS
        if idle or self._journal_failure is not None or not self._journal.is_there():
            try:
                self.probe()
            except AuditError as error:
                return HealthStatus(healthy=False, reason=str(error))
        try:
            self._look_at_state()
            self._sequencing.trouble = self._files.read_trouble()
            self._overdue = self._is_overdue(self._files.read_published())
        except (AuditError, OSError, ConfigError):
            return HealthStatus(healthy=False, reason="the log's state cannot be read; see the log file")
        if reason := self._why_closed():
            return HealthStatus(healthy=False, reason=reason)
        return HealthStatus(healthy=True)

    def _look_at_state(self) -> None:
        state = self._read_state()
        if state.accepted != self._accepted:  # time begins anew where an operator says so
            if self._accepted is not None:
                self._wish = ""
            self._accepted, self._newest = state.accepted, None
        self._ask_to_stop()
        self._sequencing.stopped = state.stopped or self._files.read_wish_to_stop()

    def _is_overdue(self, published: Published) -> bool:
        if self._waiting is not None and self._is_done(self._waiting[1], published):
            self._waiting = None
        if self._waiting is None and self._last is not None and not self._is_done(self._last[1], published):
            self._waiting = self._last
        waits = 0.0 if self._waiting is None else monotonic() - self._waiting[0]
        return waits > self._options.max_delay.total_seconds()

    def close(self) -> None:
        """Integrate what waits, if no other process does, and stop."""
        if self._closed:
            return
        self._closed = True
        self._sequencing.close()
        self._journal.close()


_living: weakref.WeakSet[LogSink] = weakref.WeakSet()


def _after_fork() -> None:
    for sink in list(_living):
        sink.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def open_sink(options: LogOptions) -> LogSink:
    """Return the sink; raises ConfigError for a directory that cannot be used, a key that is none, a damaged log."""
    signers = signers_of(options)
    tessera = options.tessera
    if tessera is not None and tessera.token is not None and sends_cleartext(tessera.url):
        log.warning("audit.tokenlog.tessera.url is not HTTPS: the token crosses the network unprotected")
    open_storage(options).close()  # what cannot be used is refused now, and not in the thread
    private = options.private
    try:
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        (private / "pending").mkdir(mode=0o700, exist_ok=True)
        if options.place is None:
            options.public.mkdir(mode=0o755, parents=True, exist_ok=True)
        sink = LogSink(options, signers)
        sink.probe()
        state = StateFiles(private).read(options.origin)
    except (OSError, AuditError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise cannot_write(
            reason,
            error.__cause__ if isinstance(error, AuditError) else error,
            remedy="make it and give the server's user write access",
            path="audit.tokenlog.directory",
        ) from None
    if state.stopped:
        log.critical("the log %s is stopped: %s", options.origin, state.stopped)
    sink.start()
    return sink
