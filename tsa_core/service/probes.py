"""Asks sinks, processors, signers and health checks how they are, in threads of their own, while no client does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from tsa_core.api import HealthStatus
from tsa_core.authority import Cause, Profile

log = logging.getLogger(__name__)


class Probe:
    """Asks one object for its health, and sets and clears its cause. Thread-safe.

    `look` is called once a second. It asks in a thread of the probe, unless the last question has not been answered;
    after `limit` seconds without an answer it sets the cause. The request path may set the same cause: a good answer
    clears it, if the question was asked more than `hold` seconds later.
    """

    def __init__(
        self,
        subject: object,
        cause: Cause,
        ask: Callable[[], HealthStatus],
        *,
        due: Callable[[], bool] = lambda: True,
        limit: float,
        hold: float = 0.0,
    ) -> None:
        self.subject = subject
        self.cause = cause
        self.status = HealthStatus(healthy=True)
        """The last answer."""
        self.answered = threading.Event()
        """Set by the first answer."""
        self._ask = ask
        self._due = due
        self._limit = limit
        self._hold = hold
        self._lock = threading.Lock()
        self._asked: float | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._crashed = False
        self._thread: threading.Thread | None = None

    def continue_from(self, before: Probe) -> None:
        """Take over what was known of the same object before a reload."""
        self.status = before.status
        if reason := before.cause.reason:
            self.cause.set(reason)
        if before.answered.is_set():
            self.answered.set()

    def look(self) -> bool:
        """Ask, if it is time to; returns at once, and whether an answer is to come."""
        with self._lock:
            alive = self._thread is not None and self._thread.is_alive()
            if self._asked is not None and alive:
                if monotonic() - self._asked > self._limit:
                    self.cause.set(f"no answer within {self._limit:g} s")
                return True
            self._asked = None
            if self._stopping or not self._due():
                return False
            if not alive:
                self._thread = thread = threading.Thread(
                    target=self._run, name=f"probe {self.cause.check}", daemon=True
                )
                try:
                    thread.start()
                except (RuntimeError, MemoryError) as error:
                    self._thread = None
                    log.warning("%s cannot be asked for its health now: %s", self.cause.check, error)
                    return False
            self._asked = monotonic()
            self._wake.set()
            return True

    def stop(self) -> None:
        """Ask no more; returns at once."""
        self._stopping = True
        self._wake.set()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread after `stop`; a question that hangs ends with the process."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stopping:
                return
            self._ask_now()

    def _ask_now(self) -> None:
        began = monotonic()
        try:
            status = self._ask()
            if not isinstance(status, HealthStatus):
                raise TypeError(f"{type(status).__name__} is not a HealthStatus")
            self._crashed = False
        except BaseException:
            if not self._crashed:
                log.exception("%s could not tell its health", self.cause.check)
            self._crashed = True
            status = HealthStatus(healthy=False, reason="it could not tell its health; the log says why")
        with self._lock:
            self._asked = None
            self.status = status
            if status.healthy:
                self.cause.clear_if_older(began - self._hold)
            else:
                self.cause.set(status.reason or "not healthy")
            self.answered.set()


class TrialSignatures:
    """Asks a signer by trial signatures: after a failure, and when it was not used for `interval` seconds."""

    def __init__(self, profile: Profile, interval: float | None) -> None:
        self._profile = profile
        self._interval = interval
        self._used = monotonic()

    def due(self) -> bool:
        """Say whether it is time for a trial signature."""
        profile = self._profile
        if profile.signed:
            profile.signed = False
            self._used = monotonic()
        if profile.signing.reason:
            return True
        return self._interval is not None and monotonic() - self._used >= self._interval

    def ask(self) -> HealthStatus:
        """Make a trial signature."""
        profile = self._profile
        was_available = profile.available
        try:
            profile.trial_signature()
        except Exception as error:  # noqa: BLE001 - after any failure the profile is not ready
            if was_available:
                log.warning("profile %r: a trial signature failed: %s", profile.name, error)
            return HealthStatus(healthy=False, reason=profile.signer_failed)
        self._used = monotonic()
        return HealthStatus(healthy=True)
