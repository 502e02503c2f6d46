"""Response processors: add extensions before the signature, or act on a finished reply."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable
from typing import Literal

from tsa_core.api.record import HealthStatus
from tsa_core.api.request import TokenDraft


class ResponseProcessor(ABC):  # noqa: B024 - every method is optional, one of them is needed
    """Works on replies that grant. Thread-safe.

    `request_extensions` are the OIDs of request extensions that the processor understands: the core refuses
    a request with any other (rule S9), and leaves it to the processor to honour these.

    `latency` tells the server how to run the processor. A "local" one computes, or writes to this machine's disks, and
    is called on the I/O thread; a "remote" one waits for a network, and requests then run in threads. Each call has to
    return within `[response] processor_timeout`: after that the reply is withheld. It is read once, after the processor
    was opened.
    """

    latency: Literal["local", "remote"] = "remote"
    request_extensions: frozenset[str] = frozenset()

    def extend(self, draft: TokenDraft) -> Iterable[bytes]:  # noqa: ARG002 - for those who override it
        """Return encoded Extension values for the TSTInfo. Raises RequestRejected to refuse."""
        return ()

    def process(self, response: bytes, draft: TokenDraft) -> bytes:  # noqa: ARG002 - for those who override it
        """Return the TimeStampResp to send; the bytes under the signature must stay, and the core checks it.

        `draft` is what the token was made from, request and context among it. Raises RequestRejected, or any other
        TsaError, to withhold the reply; the client then gets systemFailure, the log the error's text.
        """
        return response

    def health(self) -> HealthStatus:
        """Return whether replies would pass, for /readyz: whether there is room to keep them, for example.

        Called about once a second from a thread of its own, never on a request's way, and may wait for a disk or a
        network; after 5 s without an answer /readyz is red. It should find out by itself, without a request, also that
        what was wrong is over. `reason` is one line that everybody may see.
        """
        return HealthStatus(healthy=True)

    def close(self) -> None:  # noqa: B027 - optional
        """Release what the processor holds."""
