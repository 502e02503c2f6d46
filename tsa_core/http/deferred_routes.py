"""Routes that are made once the server serves, because Falcon's import takes an eighth of the time to the first token.

The first request that the fast path does not answer makes them, or the server in its first quiet moment: what is
installed may change while a server runs, so nothing stays to be imported for long.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from tsa_core.http.wsgi_types import WsgiApplication

log = logging.getLogger(__name__)


class DeferredRoutes:
    """An application that is made at its first request, or by `prepare`."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._make: Callable[[], WsgiApplication] | None = None
        self._made: WsgiApplication | None = None

    @property
    def made(self) -> bool:
        """Whether there is nothing left to make."""
        return self._make is None

    def make_later(self, make: Callable[[], WsgiApplication]) -> None:
        """Note how the application is made."""
        self._make = make

    def prepare(self) -> None:
        """Make the application unless it is made, from any thread; a failure is logged, and meets each request too."""
        try:
            if not self.made:
                self._application()
        except Exception:
            log.exception("the routes beside the one that issues timestamps cannot be made; is Falcon installed whole?")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        return (self._made or self._application())(environ, start_response)

    def _application(self) -> WsgiApplication:
        with self._making:
            if self._made is None:
                assert self._make is not None, "make_later() comes first"  # noqa: S101 - a mistake of ours
                self._made = self._make()
                self._make = None
            return self._made
