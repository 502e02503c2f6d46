"""The sink: threads that write at the same time share one write and one sync.

Permissions: write access to the file's directory. Nothing leaves the machine. The files hold who asked (the address and
the request id), when, and which serial number went out; the digest and the token only when asked.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import weakref
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tsa_audit_file.journal import Journal
from tsa_audit_file.options import AuditFileOptions
from tsa_audit_file.proof import Proof
from tsa_audit_file.sync_thread import SyncThread
from tsa_audit_file.tampering import TamperedError
from tsa_audit_file.trial import remedy
from tsa_core.api import AuditError, AuditEvent, AuditRecord, AuditSink, HealthStatus, RefusalRecord, cannot_write
from tsa_core.api.trail import (
    BrokenChainError,
    TokenMembers,
    chain_key,
    encode,
    event_members,
    refusal_members,
    utc_text,
)

log = logging.getLogger(__name__)

_DIRECTORY_MODE: Final = 0o700


class _Waiting:
    """Records on their way into the file, the thread that waits for them, and what became of them."""

    __slots__ = ("failure", "leads", "members", "woken")

    def __init__(self, members: Sequence[str]) -> None:
        self.members = members
        self.leads = False
        self.failure: BaseException | None = None
        self.woken = threading.Lock()
        self.woken.acquire()


class FileAuditSink(AuditSink):
    """Writes records to a journal.

    The first thread writes, and syncs, the records of all threads that wait at that moment. Threads that arrive
    meanwhile wait, and then one of them writes for all. So a slow disk delays tokens, but not by one sync for each.
    """

    latency = "local"
    keeps_events = True

    def __init__(self, journal: Journal, options: AuditFileOptions) -> None:
        self._journal = journal
        self._digests = options.digests
        self._members = TokenMembers(digests=options.digests, tokens=options.tokens)
        self.wants_refusals = options.refusals
        self._sync_always = options.sync == "always"
        self._interval = options.sync_interval.total_seconds() if options.sync == "interval" else None
        self._closed = False
        self._health = HealthStatus(healthy=True)
        self._probe_interval = options.probe_interval.total_seconds() if options.probe_interval else None
        self._start_anew()
        _living.add(self)

    def _start_anew(self) -> None:
        """Begin without threads and locks, at first and in a process that was forked from one that had them."""
        self._mutex = threading.Lock()
        self._queue: list[_Waiting] = []
        self._leading = False
        self._file = threading.Lock()
        self._syncing = None if self._interval is None else SyncThread(self._sync_later, self._interval)
        self._sync_failure: OSError | None = None
        self._proof = Proof(self._probe_interval)

    def after_fork(self) -> None:
        """In a new process: the parent's lock on the file must not be used here."""
        self._journal.forget()
        self._start_anew()

    # -- what the core calls ------------------------------------------------------------------------------------

    def write(self, record: AuditRecord) -> None:
        """Store a token's record; raises AuditError when that fails, and the token must not leave."""
        self._store([self._members(record)])

    def write_all(self, records: Sequence[AuditRecord]) -> None:
        """Store records in one write, with one sync; raises AuditError when that fails, for all of them."""
        self._store([self._members(record) for record in records])

    def write_refusals(self, records: Sequence[RefusalRecord]) -> None:
        """Store refused requests in one write, with one sync; raises AuditError when that fails."""
        self._store([refusal_members(record, digests=self._digests) for record in records])

    def event(self, event: AuditEvent) -> None:
        """Store an event; raises AuditError when that fails."""
        self._store([event_members(event)])

    def begin(self) -> None:
        """Say that this process writes from now on, which also proves that it can; raises AuditError.

        With a trail that was tampered with, the process begins all the same: it says so, and no token leaves.
        """
        self._journal.recall_fault()
        try:
            self._store([encode({**_this_process("open"), "version": version("tsa-audit-file")})])
        except AuditError as error:
            if not isinstance(error.__cause__, TamperedError):
                raise
            log.critical("%s", error)

    def health(self) -> HealthStatus:
        """Look whether the trail is as it was left, and whether records can be stored: store one of our own if needed.

        Waits for whatever a token's record would wait for.
        """
        with self._file:
            if self._closed:
                return self._health
            try:
                self._prove()
                reason = ""
            except (OSError, BrokenChainError) as error:
                reason = self._why_not(error)
        self._health = HealthStatus(healthy=not reason, reason=reason)
        return self._health

    def _prove(self) -> None:
        """Raise what storing a record would raise. With the lock on the file."""
        self._proof.seen(self._journal.look())
        if self._sync_failure is not None or self._proof.due(self._journal.path.parent):
            self._append([self._proof.probe()])
            self._proof.probe_stored()
        elif self._proof.failed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _why_not(self, error: OSError | BrokenChainError) -> str:
        """Return what /readyz shows to everybody, and log what it does not show, once."""
        if isinstance(error, TamperedError):  # logged by whoever found it
            return "the audit trail is not as it was left, and nobody has accepted it; see the log"
        if isinstance(error, OSError):
            return f"the audit file cannot be written: {_reason(error)}"
        if self._health.healthy:
            log.error("the audit file %s: %s", self._journal.path, _reason(error))
        return "the audit file cannot be continued; see the log"

    def head(self) -> str | None:
        """Return the last line's number and hash."""
        with self._file:
            if self._closed:
                return None
            try:
                link = self._journal.look()
            except (OSError, BrokenChainError):
                return None
        return f"{link.seq}:{link.digest}" if link.seq else None

    def close(self) -> None:
        """Say that this process writes no more."""
        if self._closed:
            return
        try:
            self._store([encode(_this_process("close"))])
            with self._file:
                self._journal.sync()
        except (AuditError, OSError) as error:
            log.error("the audit file could not be closed in order: %s", error)  # noqa: TRY400 - no traceback
        self._closed = True
        if self._syncing is not None:
            self._syncing.stop()
        with self._file:
            self._journal.close()

    # -- one write for many -------------------------------------------------------------------------------------

    def _store(self, members: Sequence[str]) -> None:
        if self._closed:
            raise AuditError("the audit file is closed")
        mine = None
        with self._mutex:
            if self._leading:
                mine = _Waiting(members)
                self._queue.append(mine)
            else:
                self._leading = True
        if mine is None:
            failure = self._lead(members)
        else:
            mine.woken.acquire()
            if mine.leads:
                self._lead_all()
            failure = mine.failure
        if failure is not None:
            raise AuditError(f"the audit file {self._journal.path}: {_reason(failure)}") from failure

    def _lead_all(self) -> None:
        """Write all queued records, this thread's own included."""
        with self._mutex:
            batch, self._queue = self._queue, []
        failure: BaseException | None = InterruptedError("the thread that wrote was interrupted")
        try:
            failure = self._lead([line for each in batch for line in each.members])
        finally:
            for each in batch:
                each.failure = failure
                each.woken.release()

    def _lead(self, members: Sequence[str]) -> BaseException | None:
        """Write records, let one of those that came meanwhile go on, and return why it failed if it did."""
        try:
            with self._file:
                self._append(members)
        except (OSError, BrokenChainError) as error:
            return error
        finally:
            with self._mutex:
                if self._queue:
                    self._queue[0].leads = True
                    self._queue[0].woken.release()
                else:
                    self._leading = False
        return None

    def _append(self, members: Sequence[str]) -> None:
        """Write records, and sync them if a token must wait for that. With the lock on the file."""
        try:
            if self._sync_failure is not None:
                # In the background nobody could be told; now no token leaves until a sync has worked.
                self._journal.sync()
                self._sync_failure = None
            self._journal.append(members)
            if self._sync_always:
                self._journal.sync()
            elif self._syncing is not None and self._syncing.written():
                self._journal.sync()
                self._syncing.done()
        except BaseException:
            self._proof.not_stored(members)
            raise
        self._proof.stored()

    def _sync_later(self) -> None:
        with self._file:
            if self._closed:
                return
            try:
                self._journal.sync()
            except OSError as error:
                self._sync_failure = error
                log.error("the audit file could not be synced: %s", _reason(error))  # noqa: TRY400 - no traceback
            finally:
                if self._syncing is not None:
                    self._syncing.done()


_living: weakref.WeakSet[FileAuditSink] = weakref.WeakSet()


def _after_fork() -> None:
    for sink in list(_living):
        sink.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _this_process(kind: str) -> dict[str, object]:
    return {"type": kind, "time": utc_text(datetime.now(UTC)), "pid": os.getpid()}


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def open_sink(options: AuditFileOptions) -> FileAuditSink:
    """Return the sink; raises ConfigError for a file that cannot be written to or continued."""
    key = key_of(options)
    journal = Journal(options.path, key=key, max_size=options.max_size, daily=options.daily)
    sink = FileAuditSink(journal, options)
    try:
        _make_folder(options.path.parent)
        sink.begin()
    except (OSError, AuditError) as error:
        cause = error.__cause__ if isinstance(error, AuditError) else error
        hint = "" if isinstance(cause, BrokenChainError) else remedy(cause)
        raise cannot_write(_reason(cause or error), cause, remedy=hint, path="audit.auditfile.path") from None
    return sink


def key_of(options: AuditFileOptions) -> bytes | None:
    """Return the key of the chain, if it has one; raises ConfigError for one that is too short."""
    return chain_key(options.key, "audit.auditfile.key")


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
