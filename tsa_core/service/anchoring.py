"""Anchors the trails every few minutes, in a thread of the serving process; of several workers, one does it.

Whoever holds a trail's lock (`Trail.anchoring`) anchors it, and keeps the lock while the other authorities do not
answer. The others find it locked, or an anchor that is new enough. When a process dies, its lock goes with it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from tsa_core.api import AuditEvent, ConfigError, HealthCheck, HealthStatus, TsaError, one_line
from tsa_core.api.trail import Trail
from tsa_core.config.sections import AuditSettings
from tsa_core.service.anchor_stamps import AnchorStamps, anchor_line, is_due, log_failure

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 15.0
"""How often to look for anchors of other processes, at least."""
_RETRY_SECONDS: Final = 60.0
"""How long to wait after a failure, at most."""


class Anchoring:
    """Keeps the anchors of trails new; `keep_running` starts the thread, and again if it has died.

    `times` are when the last anchor of each trail was stamped, as far as this process knows, and `failures` counts what
    went wrong since the last call of `take_failures`. Nothing here withholds a token.
    """

    def __init__(self, trails: Sequence[Trail], settings: AuditSettings, record: Callable[[AuditEvent], None]) -> None:
        self._trails = tuple(trails)
        self._interval = settings.anchor_interval
        self._stamps = AnchorStamps(settings)
        self._record = record
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._failures = dict.fromkeys([trail.name for trail in trails], 0)
        self.times: dict[str, datetime] = {}
        self.began = datetime.now(UTC)

    def keep_running(self) -> None:
        """Start the thread unless it runs."""
        if self._stopping.is_set() or (self._thread is not None and self._thread.is_alive()):
            return
        thread = threading.Thread(target=self._run, name="audit-anchors", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            log.error("the thread that has the audit trail anchored cannot be started: %s", error)  # noqa: TRY400 - no traceback
            return
        self._thread = thread

    def checks(self, limit: timedelta | None, *, looking: bool = False) -> list[tuple[str, HealthCheck]]:
        """Return the check of each trail's last anchor; none without a limit of its age.

        `looking` is for a process without the thread: each check then reads the last anchor itself.
        """
        if limit is None:
            return []
        return [(f"anchor:{trail.name}", AnchorAge(self, trail, limit, looking=looking)) for trail in self._trails]

    def take_failures(self) -> Mapping[str, int]:
        """Return how often a trail could not be anchored since the last call."""
        with self._lock:
            taken = dict(self._failures)
            self._failures = dict.fromkeys(taken, 0)
        return taken

    def stop(self) -> None:
        """Let the thread end; returns at once."""
        self._stopping.set()

    def close(self, *, seconds: float = 1.0) -> None:
        """Stop, and wait `seconds` at most for the thread, which may wait for another authority."""
        self.stop()
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return  # it uses the trails still
        for trail in self._trails:
            trail.close()

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            for trail in self._trails:
                self._look(trail)
            pause = _LOOK_SECONDS if self._interval is None else min(_LOOK_SECONDS, self._interval.total_seconds() / 4)

    def _look(self, trail: Trail) -> None:
        try:
            if self._is_due(trail):
                with trail.anchoring() as alone:
                    while alone and self._is_due(trail) and not self._anchor(trail):
                        if self._stopping.wait(self._retry_seconds):
                            return
        except TsaError as error:
            self._failed(trail, error)
            self._stopping.wait(self._retry_seconds)
        except BaseException:
            log.exception("audit trail %s: it could not be anchored", trail.name)
            self._count(trail)
            self._stopping.wait(self._retry_seconds)

    @property
    def _retry_seconds(self) -> float:
        return min(_RETRY_SECONDS, self._interval.total_seconds() if self._interval else _RETRY_SECONDS)

    def look_at_last(self, trail: Trail) -> datetime | None:
        """Return when the last anchor was stamped, None when there is none whose timestamps are good."""
        last = trail.last_anchor()
        time = None if last is None else self._stamps.time_of(last)
        if time is not None:
            self.times[trail.name] = time
        return time

    def _is_due(self, trail: Trail) -> bool:
        """Look at the last anchor, and say whether another one is wanted now, from this process."""
        time = self.look_at_last(trail)
        return self._interval is not None and is_due(time, self._interval, datetime.now(UTC))

    def _anchor(self, trail: Trail) -> bool:
        """Anchor a trail now; return whether that is done, or there is nothing to do."""
        try:
            stamped = self._stamps.stamp(trail, self._record)
        except TsaError as error:
            self._failed(trail, error)
            return False
        if stamped is not None:
            self.times[trail.name] = stamped.time
            log.info("%s", anchor_line(trail, stamped))
            for failure in stamped.failures:
                log.warning("audit trail %s: not stamped by %s", trail.name, failure)
        return True

    def _failed(self, trail: Trail, error: TsaError) -> None:
        log_failure(trail, error)
        self._count(trail)

    def _count(self, trail: Trail) -> None:
        with self._lock:
            self._failures[trail.name] += 1


class AnchorAge(HealthCheck):
    """Says at /readyz that the last anchor of a trail is too old; so is none, when the server runs that long."""

    def __init__(self, anchoring: Anchoring, trail: Trail, limit: timedelta, *, looking: bool) -> None:
        self._anchoring = anchoring
        self._trail = trail
        self._limit = limit
        self._looking = looking

    def check(self) -> HealthStatus:
        """Compare with the last anchor that this process knows; say which that is."""
        if self._looking:
            try:
                self._anchoring.look_at_last(self._trail)
            except ConfigError as error:  # the sink itself may make what is missing
                return HealthStatus(healthy=True, reason=f"no anchor was looked at: {one_line(error)}")
            except TsaError as error:
                return HealthStatus(healthy=False, reason=f"the last anchor cannot be read: {one_line(error)}")
        last = self._anchoring.times.get(self._trail.name)
        known = "no anchor is known yet" if last is None else f"the last anchor is of {last:%Y-%m-%dT%H:%M:%SZ}"
        if datetime.now(UTC) - (last or self._anchoring.began) <= self._limit:
            return HealthStatus(healthy=True, reason=known)
        reason = "no anchor was ever made" if last is None else known
        return HealthStatus(healthy=False, reason=f"the audit trail is not anchored: {reason}; see the log")
