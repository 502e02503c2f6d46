"""Policy selectors: which profile answers a request, or why none does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from tsa_core.api.request import ProfileSummary, RequestContext, TimeStampReq


class PolicySelector(ABC):
    """Chooses a profile for a request. Thread-safe; called for every request, so no I/O unless it is "remote".

    `latency` tells the server how to run the selector: a "remote" one waits for a network, so all requests run in
    threads, and each call has to return within `[policy] selector_timeout`: after that the request is refused with
    systemFailure. It is read once, after the selector was opened.
    """

    latency: Literal["local", "remote"] = "local"

    def bind(self, profiles: Sequence[ProfileSummary]) -> None:  # noqa: B027 - optional
        """Learn the profiles there are; called once at start. Raises ConfigError for one that it names in vain."""

    @abstractmethod
    def select(self, request: TimeStampReq, context: RequestContext) -> str | None:
        """Return a profile's name, or None to leave the choice to the next selector.

        Raises RequestRejected to refuse. When the URL already names a profile (`context.profile`), selectors
        are still asked, so that they may refuse, but a name they return changes nothing.
        """

    def close(self) -> None:  # noqa: B027 - optional
        """Release what the selector holds."""
