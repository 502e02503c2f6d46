"""Waits for what another process holds, or what is not there yet: ports, addresses, the pid file."""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn, TypeVar

from tsa_core.api import UnavailableError
from tsa_core.config import ServerSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_ENDS: Final = (signal.SIGTERM, signal.SIGINT)


class ToldToStop(Exception):
    """SIGTERM or SIGINT came while the server waited, before it served anything."""


class StartWait:
    """Tries again as long as `[server] start = "wait"` says so, with pauses that grow from 1 s to 30 s."""

    def __init__(self, settings: ServerSettings) -> None:
        self._waits = settings.start == "wait"

    def get(self, open_it: Callable[[], T]) -> T:
        """Return `open_it()`; raises its UnavailableError at once unless it is to be waited for.

        Raises ToldToStop when the process is told to stop meanwhile.
        """
        pause, said = _FIRST_PAUSE_SECONDS, ""
        while True:
            try:
                return open_it()
            except UnavailableError as error:
                if not self._waits:
                    raise
                if (text := str(error)) != said:
                    log.warning("%s; the server waits and tries again", text)
                    said = text
            with _stop_by_signal():
                time.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - spreads load, protects nothing
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


@contextmanager
def _stop_by_signal() -> Iterator[None]:
    """Turn a signal that ends the process into ToldToStop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> NoReturn:
        raise ToldToStop

    before = {number: signal.signal(number, stop) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
