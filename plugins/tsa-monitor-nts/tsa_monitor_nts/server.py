"""One NTS server: its keys and cookies, and when new ones are asked for."""

from __future__ import annotations

import logging
import time
from collections import deque

from tsa_core.api import Clock
from tsa_core.api.ntp.query import LeaveAlone, NoUsableAnswer, Sample, TimeServer, query
from tsa_monitor_nts.extension_fields import NtsQuestion
from tsa_monitor_nts.key_exchange import KeyExchange, Keys, Unreachable
from tsa_monitor_nts.records import MAX_COOKIES

log = logging.getLogger(__name__)

_LONGER = 1.5
_LONGEST_PAUSE_SECONDS = 3600.0


class NtsServer(TimeServer):
    """Asks one server with a fresh cookie each time, and believes only what its keys authenticate.

    `pause` is the least time between two key exchanges, in seconds; it grows until an authentic answer comes, because
    keys that lead to none are no success (RFC 8915 4.2). `max_distance`, in seconds, is what an answer may be off at
    most to be of use. The log says where the time is asked for, which the server of the keys decides.
    """

    authenticated = True

    def __init__(self, name: str, exchange: KeyExchange, *, pause: float, max_distance: float) -> None:
        super().__init__(name, exchange.host, exchange.port)
        self._exchange = exchange
        self._pause = pause
        self._max_distance = max_distance
        self._keys: Keys | None = None
        self._cookies: deque[bytes] = deque(maxlen=MAX_COOKIES)
        self._refused = False
        self._next_pause = pause
        self._not_before = 0.0

    def ask(self, clock: Clock, *, timeout: float) -> Sample:
        """Ask for the time once; raises NoUsableAnswer.

        Raises LeaveAlone when there are no cookies, and it is too early for a key exchange, or that has failed.
        """
        deadline = time.monotonic() + timeout
        keys = self._keys_for_a_question(deadline)
        # No cookie is used twice: whoever watches could tell that both questions have one origin.
        cookie = self._cookies.popleft()
        question = NtsQuestion(keys, cookie, missing=MAX_COOKIES - 1 - len(self._cookies))
        try:
            return query(keys.host, keys.port, question, clock, deadline=deadline, max_distance=self._max_distance)
        finally:
            self._refused = self._refused or question.refused
            if question.answered:
                self._cookies.extend(question.cookies)
                self._next_pause = self._pause
                self._refused = False

    def _keys_for_a_question(self, deadline: float) -> Keys:
        """Return the keys of the cookies at hand, after a key exchange when these are used up or were refused."""
        if self._keys is not None and self._cookies and not self._refused:
            return self._keys
        try:
            return self._exchange_keys(deadline)
        except LeaveAlone:
            # A NAK is not authenticated, so cookies that it refused are tried as long as there are no others.
            if self._keys is None or not self._cookies:
                raise
            return self._keys

    def _exchange_keys(self, deadline: float) -> Keys:
        now = time.monotonic()
        if now < self._not_before:
            raise LeaveAlone("its cookies are of no use; a key exchange must wait", self._not_before - now)
        pause = self._next_pause
        self._not_before = now + pause
        self._next_pause = max(self._pause, min(_LONGER * pause, _LONGEST_PAUSE_SECONDS))
        try:
            keys = self._exchange.run(deadline=deadline)
        except NoUsableAnswer as error:
            if isinstance(error, Unreachable):
                # Nobody was asked for anything, and when the network is back the clock should soon be trusted again.
                self._next_pause = pause
            raise LeaveAlone(str(error), self._not_before - time.monotonic()) from None
        if self._keys is None or (keys.host, keys.port) != (self._keys.host, self._keys.port):
            log.info("the NTS server %s: the time is asked for at %s, port %d", self.name, keys.host, keys.port)
        self._keys = keys
        self._cookies.clear()
        self._cookies.extend(keys.cookies)
        self._refused = False
        return keys
