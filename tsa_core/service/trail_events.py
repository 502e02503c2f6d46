"""What the audit trail is told beside tokens and refusals: starts, reloads, keys, the clock, and outages.

Each event says which process it is of, since every worker writes its own.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tsa_core import __version__
from tsa_core.api import AuditEvent
from tsa_core.api.trail import utc_text
from tsa_core.api.trail.events import CERTIFICATE, CLOCK_STATE, CLOCK_STEP, READINESS, RELOADED, STARTED
from tsa_core.authority import ClockChange, ClockStep, Profile
from tsa_core.paths.certificate import serial_number
from tsa_core.protocol.encodings import Encoding, PublicFormat
from tsa_core.service.background_queue import BackgroundQueue

log = logging.getLogger(__name__)

_LIMIT: Final = 1_000
_MAX_TEXT: Final = 2_000


class TrailEvents(BackgroundQueue[AuditEvent]):
    """Hands events to `write`, which waits for the sinks, in a thread of its own; keeps none without sinks."""

    def __init__(self, write: Callable[[AuditEvent], None], *, wanted: bool) -> None:
        super().__init__("audit-events", limit=_LIMIT)
        self._write = write
        self._wanted = wanted
        self._unready: set[str] = set()
        self._since = self._causes = ""

    def _give(self, items: Sequence[AuditEvent]) -> None:
        for event in items:
            self._write(event)

    def _tell_lost(self, count: int, why: str) -> None:
        log.error("the audit trail lacks %d events: %s", count, why)

    def tell(self, kind: str, details: Mapping[str, str], *, time: datetime | None = None) -> None:
        """Queue an event of this process; waits for nothing. `time` is now unless it is given."""
        if self._wanted:
            event_time = time or datetime.now(UTC)
            self.put(AuditEvent(kind=kind, time=event_time, details={"pid": str(os.getpid()), **details}))

    def started(self, profiles: Iterable[Profile]) -> None:
        """Tell that this process serves from now on, with which software and certificates."""
        self.tell(STARTED, {"version": __version__, "host": platform.node()})
        for profile in profiles:
            self.certificate(profile.name, None, profile.chain.leaf)

    def reloaded(self, before: Mapping[str, Profile], after: Mapping[str, Profile]) -> None:
        """Tell that a reload has replaced the configuration, and each profile whose certificate is another one."""
        self.tell(RELOADED, {"version": __version__})
        for name in [*after, *(name for name in before if name not in after)]:
            old, new = (each[name].chain.leaf if name in each else None for each in (before, after))
            if old != new:
                self.certificate(name, old, new)

    def certificate(self, profile: str, old: x509.Certificate | None, new: x509.Certificate | None) -> None:
        """Tell which certificate a profile has from now on, and which it had; None for none."""
        details = {"profile": profile}
        for prefix, certificate in (("previous_", old), ("", new)):
            if certificate is not None:
                details |= {f"{prefix}{name}": text for name, text in _of_certificate(certificate).items()}
        self.tell(CERTIFICATE, details)

    def clock_changed(self, change: ClockChange) -> None:
        """Tell a change of the clock's state."""
        details = {"previous": change.previous.state.value, **change.status.facts}
        self.tell(CLOCK_STATE, details, time=change.time)

    def clock_stepped(self, step: ClockStep) -> None:
        """Tell that the clock was set by a second or more."""
        self.tell(CLOCK_STEP, {"seconds": f"{step.seconds:+.6f}"}, time=step.time)

    def readiness(self, causes: Mapping[str, str]) -> None:
        """Tell when other things than before stop tokens, and when nothing does any more. For one thread.

        The last of these says since when and why, because a sink that was the cause has not taken the first.
        """
        if set(causes) == self._unready:
            return
        self._since = (self._since if self._unready else "") or utc_text(datetime.now(UTC))
        if causes:
            self._causes = "; ".join(f"{name}: {reason}" for name, reason in sorted(causes.items()))[:_MAX_TEXT]
        details = {"ready": str(not causes).lower(), "unready_since": self._since, "causes": self._causes}
        self.tell(READINESS, details)
        self._unready = set(causes)


def _of_certificate(certificate: x509.Certificate) -> dict[str, str]:
    """Return what identifies a certificate and its key: SHA-256 of both, in hexadecimal."""
    found = {
        "certificate_sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "certificate_serial_number": f"{serial_number(certificate):x}",
        "not_after": utc_text(certificate.not_valid_after_utc),
    }
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key)
    return {**found, "key_sha256": digest.finalize().hex()}
