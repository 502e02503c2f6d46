"""What `timestamp-server check` opens instead of the sink: reads keys and state, and changes nothing on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta

from tsa_core.api import (
    AuditError,
    AuditRecord,
    AuditSink,
    ConfigError,
    HealthStatus,
    ProfileSummary,
    why_not_writable,
)
from tsa_log.engine_sequencer import open_remote
from tsa_log.head import Head, TreeHead
from tsa_log.keys import signers_of
from tsa_log.objects import ObjectStorage, StoreError
from tsa_log.opening import open_storage
from tsa_log.options import STORAGE, LogOptions, TesseraOptions
from tsa_log.remote_log import RemoteLogError
from tsa_log.state import LogState, StateFiles
from tsa_log.storage import Conflict
from tsa_log.tree import DamagedLog, GrowingTree


class LogTrial(AuditSink):
    """Tells whether tokens could be logged; logs none."""

    def __init__(self, options: LogOptions, wrong: str) -> None:
        self._options = options
        self._wrong = wrong

    def bind(self, profiles: Sequence[ProfileSummary], timeout: timedelta) -> None:
        """Refuse what the sink refuses."""
        self._options.check_profiles((profile.name for profile in profiles), timeout)

    def write(self, record: AuditRecord) -> None:
        """Refuse: a check issues no token."""
        raise AuditError(f"the log was opened for a check: {record.request_id}")

    def health(self) -> HealthStatus:
        """Say what a server would say that has just started."""
        return HealthStatus(healthy=not self._wrong, reason=self._wrong)


def try_sink(options: LogOptions) -> LogTrial:
    """Look whether a server could continue the log, or begin it; raises ConfigError when it could not."""
    signers_of(options)
    if reason := why_not_writable(options.directory):
        raise ConfigError(f"{reason}; make it and give the server's user write access", path="audit.tokenlog.directory")
    try:
        files = StateFiles(options.private)
        state = files.read(options.origin)
        _look(options, files, state)
    except (Conflict, DamagedLog, StoreError) as error:
        raise ConfigError(str(error), path=STORAGE) from None
    except OSError as error:
        raise ConfigError(error.strerror or str(error), path="audit.tokenlog.directory") from None
    if state.stopped:
        return LogTrial(options, f"the log is stopped: {state.stopped}")
    return LogTrial(options, "" if options.tessera is None else _why_unreadable(options.tessera))


def _look(options: LogOptions, files: StateFiles, state: LogState) -> None:
    """Read from the bucket, if there is one, who writes it; what may be written there is not tried."""
    with closing(open_storage(options)) as storage:
        if isinstance(storage, ObjectStorage):
            tree = GrowingTree(storage, state.size, state.root)
            batch = files.read_batch()
            step = batch.entries if batch is not None and batch.size == state.size else ()
            after = TreeHead(*tree.grown(step)) if step else TreeHead(state.size, state.root)
            head = Head(storage, origin=options.origin, writer=files.read_writer())
            head.look(TreeHead(state.size, state.root), after)


def _why_unreadable(tessera: TesseraOptions) -> str:
    """Return why the log of an engine cannot be followed; nothing is posted to it."""
    with closing(open_remote(tessera)) as remote:
        remote.within(tessera.timeout.total_seconds())
        try:
            remote.checkpoint()
        except RemoteLogError as error:
            return str(error)
    return ""
