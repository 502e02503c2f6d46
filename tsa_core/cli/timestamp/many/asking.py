"""One file's timestamp: what is there already, or else what the server gives."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypedDict

from tsa_core.cli.timestamp.many.gate import Gate
from tsa_core.cli.timestamp.many.interruption import Interruption
from tsa_core.cli.timestamp.many.item import Item
from tsa_core.cli.timestamp.many.kept import About, Verifiers, found_already
from tsa_core.cli.timestamp.many.outcome import Outcome, State
from tsa_core.cli.timestamp.many.reading import Unreadable, digest_of
from tsa_core.cli.timestamp.many.store import Store
from tsa_core.client import ClientError, ConnectionFailed, Timestamp, TimestampClient, UnexpectedAnswer
from tsa_core.client.request import build_request
from tsa_core.protocol.hashes import HashAlgorithm

_BUSY: Final = frozenset({429, 503})
_THIS_NAME: Final = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ})
"""Errors of writing that say nothing about other files."""
_TRIES_AGAIN: Final = 2
_PAUSE: Final = 0.5
"""Seconds after the first connection that broke; twice as many after the second."""
_IN_A_ROW: Final = 20
"""So many failures of the server, one after the other, end the run."""


class Asked(TypedDict):
    """What every request of a run asks for besides."""

    nonce: bool
    certificate: bool
    policy: str | None


@dataclass(kw_only=True)
class Asking:
    """Gets timestamps for files, one for each, and puts each into a file of its own; used from many threads."""

    client: TimestampClient
    algorithm: HashAlgorithm
    asked: Asked
    verifiers: Verifiers
    store: Store
    convert: Callable[[bytes], bytes]
    """What is kept of a reply."""
    force: bool
    gate: Gate
    interruption: Interruption
    fatal: str = ""
    """Why the run ended early."""
    _failures: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def stop(self) -> threading.Event:
        """Set when it is of no use to go on."""
        return self.interruption.stop

    def timestamp(self, item: Item) -> Outcome:
        """Return what became of a file; `stop` is set when it is of no use to go on."""
        about = self.look_at(item)
        if isinstance(about, Outcome):
            return about
        answer = self.ask(item, about.digest, about.algorithm)
        if isinstance(answer, Outcome):
            return answer
        return self.keep(about, self.convert(answer.reply), time=answer.time, warnings=answer.warnings)

    def look_at(self, item: Item) -> About | Outcome:
        """Return a file's digest, or its outcome when it cannot be read or has a timestamp already."""
        algorithm = item.algorithm or self.algorithm
        try:
            digest, size = digest_of(item, algorithm)
        except Unreadable as error:
            return Outcome(item=item, state=State.FAILED, text=str(error))
        about = About(item=item, digest=digest, algorithm=algorithm, size=size)
        found = None if self.force else found_already(self.store, about, self.verifiers)
        return about if found is None else found

    def keep(self, about: About, data: bytes, *, time: datetime, warnings: tuple[str, ...] = ()) -> Outcome:
        """Put a timestamp or a record in its place, and return what became of the file."""
        location = self.store.location(about.item)
        try:
            self.store.put(about.item, data, digest=about.text)
        except FileExistsError:  # from another run, meanwhile
            text = f"{location} is written by another program"
            return found_already(self.store, about, self.verifiers) or about.outcome(State.FAILED, text=text)
        except OSError as error:
            return self._cannot_write(about.item, location, error)
        return about.outcome(State.STAMPED, time=time, location=location, warnings=warnings)

    def ask(self, item: Item, digest: bytes, algorithm: HashAlgorithm) -> Timestamp | Outcome:
        """Return the server's timestamp of a digest, or the outcome of the file for which it was asked."""
        request = build_request(digest=digest, hash_name=algorithm.name, **self.asked)
        broken = 0
        while self.gate.wait(self.stop):
            sent = time.monotonic()
            try:
                answer = self.client.send(request)
            except UnexpectedAnswer as error:
                if error.status not in _BUSY:
                    return self._refused(item, error)
                if not self.gate.busy(error.retry_after, sent):
                    return self._end(item, f"the server stays busy: {error}")
            except ConnectionFailed as error:
                broken += 1
                if broken > _TRIES_AGAIN:
                    return self._refused(item, error)
                self.stop.wait(broken * _PAUSE)
            except ClientError as error:
                return self._refused(item, error)
            else:
                self.gate.good()
                with self._lock:
                    self._failures = 0
                return answer
        return Outcome(item=item, state=State.UNASKED)

    def _refused(self, item: Item, error: ClientError) -> Outcome:
        with self._lock:
            self._failures += 1
            many = self._failures >= _IN_A_ROW
        if many:
            return self._end(item, f"{_IN_A_ROW} requests failed one after the other; the last one: {error}")
        return Outcome(item=item, state=State.FAILED, text=f"no timestamp from {error}")

    def _cannot_write(self, item: Item, location: str, error: OSError) -> Outcome:
        text = f"{location} cannot be written: {error.strerror}"
        if isinstance(error, PermissionError | NotADirectoryError | IsADirectoryError) or error.errno in _THIS_NAME:
            return Outcome(item=item, state=State.FAILED, text=text)
        # A full disk takes no other timestamp either: the server would be asked for nothing.
        return self._end(item, text)

    def _end(self, item: Item, why: str) -> Outcome:
        with self._lock:
            self.fatal = self.fatal or why
        self.stop.set()
        return Outcome(item=item, state=State.FAILED, text=why)
