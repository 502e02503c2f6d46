"""Brings entries into a log that an engine keeps, and keeps a copy of that log, by one process of all of a machine.

An entry counts as integrated when the copy has it where the engine said that it is, and the copy is a log that was
signed. Until then it stays in its journal, and is posted again when the engine lost it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Final

from tsa_core.api import clear_scratch
from tsa_core.api.transparency import EncodingError, SignedCheckpoint, parse_verifier_key
from tsa_log.engine import Engine
from tsa_log.journal import MAX_READ, Journals, read_records
from tsa_log.mirror import Mirror
from tsa_log.options import LogOptions, TesseraOptions
from tsa_log.remote_log import RemoteLog, RemoteLogError
from tsa_log.sequencer import MICROSECOND, time_of, went_back
from tsa_log.state import LogState, Published, StateFiles
from tsa_log.storage import Storage

log = logging.getLogger(__name__)

_MAX_UNDERWAY: Final = 32_768
"""Entries that are read from journals and not integrated yet."""
_MAX_POSTED: Final = 4096
"""Entries that one step posts; between two steps the copy grows."""


@dataclass(slots=True, eq=False)
class _Underway:
    """A record of a journal; `index` is where the engine says that its entry is, and `since` when it said so."""

    entry: bytes
    end: int
    microseconds: int = 0
    index: int | None = None
    since: float = 0.0
    done: bool = False


class EngineSequencer:
    """Posts what the journals of all processes hold, in the order of genTime, and follows the log. With the lock held.

    genTime must not go back by more than `disorder` between entries of this machine.
    """

    def __init__(
        self,
        folder: Path,
        storage: Storage,
        origin: str,
        engine: Engine,
        remote: RemoteLog,
        *,
        disorder: timedelta,
        timeout: timedelta,
        lost_after: timedelta,
    ) -> None:
        """Go on where another process was; raises OSError, ConfigError and DamagedLog."""
        clear_scratch(folder)
        self._journals = Journals(folder / "pending")
        self._files = StateFiles(folder)
        self._engine = engine
        self._remote = remote
        self._disorder = disorder // MICROSECOND
        self._seconds = timeout.total_seconds()
        self._lost_after = lost_after.total_seconds()
        self.state = self._files.read(origin)
        self._mirror = Mirror(storage, remote, self.state.size, self.state.root)
        self._records: dict[str, deque[_Underway]] = {}
        self._read = dict(self.state.consumed)
        self._expected: dict[int, list[_Underway]] = {}
        self._wrong = ""
        self.failure = ""
        """Why entries are not in the log yet; empty while all goes well."""

    @property
    def checkpoint(self) -> SignedCheckpoint | None:
        """The log's own checkpoint of what is copied; None while there is more to copy."""
        return self._mirror.complete

    def step(self) -> bool:
        """Post what waits and copy what is new; return whether there is more of either. Raises OSError, DamagedLog."""
        if self.state.stopped:
            return False
        reason = self._files.read_wish_to_stop() or self._collect()
        if reason:
            self._stop(reason)
            return False
        self._wrong = ""
        more = self._post()
        size = self._mirror.size
        try:
            self._remote.within(self._seconds)
            more = self._copy(self._mirror.advance()) or more
            unread = ""
        except RemoteLogError as error:
            unread = str(error)
        self._give_up_waiting()
        self._tell(self._wrong or self._engine.failure or unread)
        if self._settle() or self._mirror.size != size:
            self._write(
                replace(self.state, size=self._mirror.size, root=self._mirror.root if self._mirror.size else b"")
            )
        return more and not self.failure

    # -- from the journals --------------------------------------------------------------------------------------

    def _collect(self) -> str:
        """Read what is new in the journals; return why the log must stop, if it must."""
        new: list[tuple[str, _Underway]] = []
        room = _MAX_UNDERWAY - sum(map(len, self._records.values()))
        for path in self._journals.paths():
            for record in self._records_of(path):
                if len(new) >= room:
                    break
                new.append((path.name, record))
        newest, ordered = self.state.newest, dict(self.state.ordered)
        times = [each.microseconds for name, each in new if each.entry and each.end > ordered.get(name, 0)]
        if times and min(times) < newest - self._disorder:
            return went_back((newest - min(times)) / 1e6)
        for name, record in new:
            self._records.setdefault(name, deque()).append(record)
            self._read[name] = record.end
            ordered[name] = max(record.end, ordered.get(name, 0))
        if times:
            self._write(replace(self.state, newest=max(newest, *times), ordered=ordered))
        return ""

    def _records_of(self, path: Path) -> Iterator[_Underway]:
        for entry, end in read_records(path, self._read.get(path.name, 0), MAX_READ):
            microseconds = time_of(entry, path.name) if entry else None  # an empty one is a probe
            if microseconds is None:
                yield _Underway(b"", end, done=True)
            else:
                yield _Underway(entry, end, microseconds)

    def _underway(self) -> list[_Underway]:
        return [each for records in self._records.values() for each in records if not each.done]

    # -- to the engine, and back from its log -------------------------------------------------------------------

    def _post(self) -> bool:
        waiting = sorted((each for each in self._underway() if each.index is None), key=lambda each: each.microseconds)
        posted = waiting[:_MAX_POSTED]
        for record, index in zip(
            posted, self._engine.add([each.entry for each in posted], seconds=self._seconds), strict=True
        ):
            if index is None:
                continue
            record.index, record.since = index, monotonic()
            if index < self._mirror.size:  # it was there before: an answer was lost, or this process's predecessor
                self._compare(record, self._copied(index), index)
            else:
                self._expected.setdefault(index, []).append(record)
        return len(waiting) > len(posted)

    def _copied(self, index: int) -> bytes:
        try:
            return self._mirror.entry(index)
        except EncodingError as error:
            self._wrong = f"the copy of the log is damaged at entry {index}: {error}"
            return b""

    def _copy(self, entries: Sequence[bytes]) -> bool:
        first = self._mirror.size - len(entries)
        for index, entry in enumerate(entries, first):
            for record in self._expected.pop(index, ()):
                self._compare(record, entry, index)
        return bool(entries) and self._mirror.complete is None

    def _compare(self, record: _Underway, entry: bytes, index: int) -> None:
        if record.entry == entry:
            record.done = True
        else:
            record.index = None
            self._wrong = f"{self._engine.url}: an entry is not at index {index}, as it had said: another one is there"

    def _give_up_waiting(self) -> None:
        """Post again what has not appeared in the log for so long that the engine must have lost it."""
        too_old = monotonic() - self._lost_after
        for index, records in list(self._expected.items()):
            for record in [each for each in records if each.since < too_old]:
                self._wrong = (
                    f"{self._engine.url}: it said that an entry has index {index}, and its log has {self._mirror.size} "
                    f"entries after {self._lost_after:g} s"
                )
                record.index = None
                records.remove(record)
            if not records:
                del self._expected[index]

    # -- what is remembered -------------------------------------------------------------------------------------

    def _settle(self) -> bool:
        """Forget what is integrated up to the first record that is not; return whether that changed anything."""
        consumed = dict(self.state.consumed)
        for name, records in self._records.items():
            while records and records[0].done:
                consumed[name] = records.popleft().end
        if consumed == self.state.consumed:
            return False
        self.state = replace(self.state, consumed=consumed)
        return True

    def _write(self, state: LogState) -> None:
        self._files.write(state)
        self.state = state

    def _stop(self, reason: str) -> None:
        log.critical("the log %s is stopped: %s", self.state.origin, reason)
        self._write(replace(self.state, stopped=reason))

    def _tell(self, failure: str) -> None:
        if failure and not self.failure:
            log.error("entries wait for the log: %s", failure)
        elif self.failure and not failure:
            log.info("entries reach the log again")
        self.failure = failure

    def clear(self, published: Published) -> None:
        """Remove the journals of processes that have ended, once all of them is in a published checkpoint."""
        there = self._journals.clear(published.consumed)
        for known in (self._records, self._read):
            for name in [each for each in known if each not in there]:
                del known[name]
        kept = {name: end for name, end in self.state.consumed.items() if name in there}
        ordered = {name: end for name, end in self.state.ordered.items() if name in there}
        self.state = replace(self.state, consumed=kept, ordered=ordered)

    def close(self) -> None:
        """Close the connections."""
        self._engine.close()
        self._remote.close()


def open_engine(options: LogOptions, tessera: TesseraOptions, folder: Path, storage: Storage) -> EngineSequencer:
    """Return the sequencer of a log that an engine keeps; raises OSError, ConfigError and DamagedLog."""
    token = {} if tessera.token is None else {"Authorization": f"Bearer {tessera.token.get_secret_value()}"}
    return EngineSequencer(
        folder,
        storage,
        options.origin,
        Engine(tessera.url, connections=tessera.connections, headers=token),
        open_remote(tessera),
        disorder=options.max_disorder,
        timeout=tessera.timeout,
        lost_after=options.max_delay,
    )


def open_remote(tessera: TesseraOptions) -> RemoteLog:
    """Return the log that an engine publishes."""
    return RemoteLog(tessera.log_url or tessera.url, [parse_verifier_key(tessera.log_key)])
