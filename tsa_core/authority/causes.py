"""Why tokens cannot be issued now: the causes that /readyz, metrics, the log and the landing page tell.

Whoever may find that tokens cannot be issued has a Cause of its own. It sets the cause when it finds that, and clears
it when it finds the contrary. Several causes may have the same kind and name: a sink may have failed, and hang too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from enum import StrEnum
from time import monotonic


class CauseKind(StrEnum):
    """What stops tokens; the first part of a check's name at /readyz."""

    SIGNER = "signer"
    CERTIFICATE = "certificate"
    """The chain is not valid now, or the key's usage period does not include now."""
    CLOCK = "clock"
    AUDIT = "audit"
    """An audit sink."""
    RESPONSE = "response"
    """A response processor."""
    POLICY = "policy"
    """A policy selector."""
    GUARD = "guard"
    """A guard: while it does not answer, everybody is refused."""
    HEALTH = "health"
    """A health check: it makes /readyz red, and stops no tokens."""


class Cause:
    """One reason why tokens cannot be issued; inactive until `set`. Any thread may set and clear it.

    `name` is that of the plugin, or of the profile for its signer and its certificate. `profile` is the only profile
    that it stops; with None it stops all.
    """

    __slots__ = ("_lock", "_set_at", "kind", "name", "profile", "reason")

    def __init__(self, kind: CauseKind, name: str = "", *, profile: str | None = None) -> None:
        self.kind = kind
        self.name = name
        self.profile = profile
        self.reason = ""
        """One line for the operator while the cause is active, else empty."""
        self._lock = threading.Lock()
        self._set_at = 0.0

    @property
    def check(self) -> str:
        """The name at /readyz: `audit:auditfile`, or `clock`; that of a health check is its own."""
        if self.kind is CauseKind.HEALTH:
            return self.name
        return f"{self.kind}:{self.name}" if self.name else self.kind.value

    def set(self, reason: str) -> None:
        """Say that tokens cannot be issued, also when it was said before.

        `reason` is one line for the operator. /readyz shows it to everybody: no secret, no text of a plugin's error.
        """
        if not reason:
            raise ValueError("a cause needs a reason")
        with self._lock:
            self.reason = reason
            self._set_at = monotonic()

    def clear(self) -> None:
        """Say that this does not stop tokens. On the path of a request, look at `reason` first."""
        self.reason = ""

    def clear_if_older(self, moment: float) -> None:
        """Say that this did not stop tokens at `moment`, of the monotonic clock; what was set later stays."""
        with self._lock:
            if self._set_at < moment:
                self.reason = ""

    def __repr__(self) -> str:
        return f"<Cause {self.check}: {self.reason or 'inactive'}>"


class Causes:
    """The causes of one authority. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: tuple[Cause, ...] = ()

    def add(self, kind: CauseKind, name: str = "", *, profile: str | None = None) -> Cause:
        """Return a new cause, which is listed from now on; for its owner alone to set and clear."""
        cause = Cause(kind, name, profile=profile)
        self.include(cause)
        return cause

    def include(self, cause: Cause) -> None:
        """List a cause that was made before."""
        with self._lock:
            self._all = (*self._all, cause)

    def __iter__(self) -> Iterator[Cause]:
        """Iterate over all causes, active or not, in the order in which they were added."""
        return iter(self._all)

    def active(self) -> list[tuple[Cause, str]]:
        """Return the causes that stop tokens now, each with its reason."""
        return [(cause, reason) for cause in self._all if (reason := cause.reason)]

    def stopping(self, profile: str) -> list[CauseKind]:
        """Return what kinds of things stop the tokens of a profile now, each once; empty while it issues."""
        return list(
            dict.fromkeys(
                cause.kind
                for cause, _ in self.active()
                if cause.profile in {None, profile} and cause.kind is not CauseKind.HEALTH
            )
        )
