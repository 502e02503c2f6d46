"""timestamp-cli log monitor --follow: looks again and again, and says when it cannot, and since when."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeVar

from tsa_core.cli.console import EXIT_TEMPORARY
from tsa_core.client.errors import TransportError
from tsa_core.protocol.errors import TemporaryFailure

T = TypeVar("T")

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_ENDS: Final = (signal.SIGTERM, signal.SIGINT)

Blind = Callable[[TransportError, datetime, float], None]
"""Called for a look that failed: why, since when nothing was seen, and how many seconds the pause is."""


class LogUnreachable(TemporaryFailure):
    """The log could not be read: nothing was checked, and nothing was found wrong."""


class _ToldToEnd(Exception):
    """SIGTERM or SIGINT came."""


def follow(
    look: Callable[[], T], keep: Callable[[T], bool], *, every: float, give_up_after: float | None, blind: Blind
) -> int:
    """Call `look` every so many seconds until SIGTERM or SIGINT comes, and return the exit code.

    `keep` gets what it returns, is not interrupted, and says whether the next look comes at once. The code is 0, or 75
    when the last look failed. After one that failed the next comes after 1, 2, 4 seconds, up to a minute. Raises
    LogUnreachable when none succeeded for `give_up_after` seconds, and all but TransportError that `look` and `keep`
    raise.
    """
    seen, since, pause = time.monotonic(), datetime.now(UTC), 0.0
    try:
        with _Ending() as ending:
            while True:
                try:
                    found = look()
                except TransportError as error:
                    pause = min(2 * pause, _LONGEST_PAUSE_SECONDS) if pause else _FIRST_PAUSE_SECONDS
                    wait = pause * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, protects nothing
                    if give_up_after is not None:
                        left = seen + give_up_after - time.monotonic()
                        if left <= 0:
                            since_when = f"nothing was seen since {since:%Y-%m-%dT%H:%M:%SZ}"
                            raise LogUnreachable(f"{error}; {since_when}, for {give_up_after:g} s") from None
                        wait = min(wait, left)
                    blind(error, since, wait)
                else:
                    with ending.held():
                        wait = 0.0 if keep(found) else every
                        seen, since, pause = time.monotonic(), datetime.now(UTC), 0.0
                time.sleep(wait)
    except _ToldToEnd:
        return EXIT_TEMPORARY if pause else 0


class _Ending:
    """Turns a signal that ends the process into _ToldToEnd, within a `with`; one that comes while `held` waits."""

    def __init__(self) -> None:
        self._told = self._held = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._end) for number in _ENDS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, *_: object) -> None:
        if not self._told:  # a second one must not break the end
            self._told = True
            self._raise()

    def _raise(self) -> None:
        if self._told and not self._held:
            raise _ToldToEnd

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep a signal until the block has ended: what is written whole leaves nothing behind."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self._raise()
