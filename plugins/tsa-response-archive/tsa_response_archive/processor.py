"""Puts each reply into the store before it leaves.

Permissions: write access to the directory. Nothing leaves the machine. The files hold what every requester gets
anyway, the digest and the time; who asked is not among it.
"""

from __future__ import annotations

import logging

from tsa_core.api import ConfigError, ResponseProcessor, TokenDraft, TsaError
from tsa_response_archive.options import ArchiveOptions
from tsa_response_archive.store import TokenStore

log = logging.getLogger(__name__)


class ArchiveProcessor(ResponseProcessor):
    """Keeps replies; returns them as they are."""

    def __init__(self, store: TokenStore, *, required: bool) -> None:
        self._store = store
        self._required = required

    def process(self, response: bytes, draft: TokenDraft) -> bytes:
        """Keep the reply; raises TsaError, so that it is withheld, when that fails and is required."""
        try:
            self._store.add(draft.serial_number, draft.request.digest, response)
        except OSError as error:
            text = f"the archive could not keep the token {draft.serial_number:040x}: {error.strerror or error}"
            if self._required:
                raise TsaError(f"{text}; the reply is withheld") from error
            log.error("request %s: %s; the reply leaves all the same", draft.context.request_id, text)  # noqa: TRY400 - no traceback
        return response


def open_archive(options: ArchiveOptions) -> ArchiveProcessor:
    """Return the processor; raises ConfigError for a directory that cannot be written to."""
    store = TokenStore(options.directory, sync=options.sync)
    try:
        store.prepare()
    except OSError as error:
        raise ConfigError(
            f"the archive's directory {options.directory} cannot be used: {error.strerror or error}; "
            "make it and give the server's user write access",
            path="response.archive.directory",
        ) from None
    return ArchiveProcessor(store, required=options.required)
