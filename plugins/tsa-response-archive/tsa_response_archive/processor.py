"""Puts each reply into the store before it leaves.

Permissions: write access to the directory. Nothing leaves the machine. The files hold what every requester gets
anyway, the digest and the time; who asked is not among it.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import Final

from tsa_core.api import (
    ConfigError,
    HealthStatus,
    ResponseProcessor,
    TokenDraft,
    TsaError,
    cannot_write,
    why_not_writable,
)
from tsa_response_archive.options import ArchiveOptions
from tsa_response_archive.store import TokenStore

log = logging.getLogger(__name__)

_PROBE_SECONDS: Final = 10.0
"""How long no reply may have been kept before a file is made to see whether one could be."""
_TYPICAL_OCTETS: Final = 8_192
"""The size of that file: that of most replies."""
_MAX_PROBE_OCTETS: Final = 1_048_576


class ArchiveProcessor(ResponseProcessor):
    """Keeps replies; returns them as they are."""

    latency = "local"

    def __init__(self, store: TokenStore, *, required: bool) -> None:
        self._store = store
        self._required = required
        self._kept_at = float("-inf")
        self._largest = _TYPICAL_OCTETS
        self._failure = ""
        self._lost = 0

    def process(self, response: bytes, draft: TokenDraft) -> bytes:
        """Keep the reply; raises TsaError, so that it is withheld, when that fails and is required."""
        try:
            self._store.add(draft.serial_number, draft.request.digest, response)
        except OSError as error:
            failure = error.strerror or str(error)
            text = f"the archive could not keep the token {draft.serial_number:040x}: {failure}"
            self._largest = max(self._largest, min(len(response), _MAX_PROBE_OCTETS))
            if self._required:
                self._failure = failure
                raise TsaError(f"{text}; the reply is withheld") from error
            self._lost += 1
            if not self._failure:
                log.error("request %s: %s; the reply leaves all the same", draft.context.request_id, text)  # noqa: TRY400 - no traceback
            self._failure = failure
        else:
            self._kept(monotonic())
        return response

    def _kept(self, now: float) -> None:
        """Note that a file could be made."""
        self._kept_at = now
        self._failure = ""
        if lost := self._lost:
            self._lost = 0
            log.error("the archive can keep tokens again; %d left without being kept", lost)

    def health(self) -> HealthStatus:
        """Say whether a reply could be kept: make and remove a file, unless one was kept a moment ago."""
        now = monotonic()
        if self._failure or now - self._kept_at >= _PROBE_SECONDS:
            try:
                self._store.probe(self._largest)
            except OSError as error:
                self._failure = error.strerror or "no file can be made"
            else:
                self._kept(now)
        if not self._failure:
            return HealthStatus(healthy=True)
        if self._required:
            return HealthStatus(healthy=False, reason=f"the archive cannot keep tokens: {self._failure}")
        return HealthStatus(healthy=True, reason=f"tokens leave without being kept: {self._failure}")


class ArchiveTrial(ResponseProcessor):
    """What `timestamp-server check` opens instead: keeps nothing, and changes nothing on the disk."""

    def health(self) -> HealthStatus:
        """Say that it could keep replies: else it would not have been opened."""
        return HealthStatus(healthy=True)


def try_archive(options: ArchiveOptions) -> ArchiveTrial:
    """Look whether the directory could be used; raises ConfigError when it could not."""
    if reason := why_not_writable(options.directory):
        raise ConfigError(
            f"the archive's directory {options.directory} cannot be used: {reason}; "
            "make it and give the server's user write access",
            path="response.archive.directory",
        )
    return ArchiveTrial()


def open_archive(options: ArchiveOptions) -> ArchiveProcessor:
    """Return the processor; raises ConfigError for a directory that cannot be written to."""
    store = TokenStore(options.directory, sync=options.sync)
    try:
        store.prepare()
    except OSError as error:
        raise cannot_write(
            f"the archive's directory {options.directory} cannot be used: {error.strerror or error}",
            error,
            remedy="make it and give the server's user write access",
            path="response.archive.directory",
        ) from None
    return ArchiveProcessor(store, required=options.required)
