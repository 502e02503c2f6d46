"""How fast a probe asks, how often, and for how long: it stays a guest."""

from __future__ import annotations

import time
from typing import Final

from tsa_core.client.answers import Answer
from tsa_core.client.deadline import Deadline

MAX_REQUESTS: Final = 100
MAX_RATE: Final = 1000.0
"""For an authority of one's own; the command line allows 50."""
DEFAULT_RATE: Final = 2.0
MAX_WAITS: Final = 3
"""How often a busy server is waited for."""


def is_busy(answer: Answer) -> bool:
    """Say whether a server asks to come back later; a 503 without Retry-After is an error like any other."""
    return answer.status == 429 or (answer.status == 503 and answer.retry_after is not None)


class Pacer:
    """Spaces requests evenly and counts them; `deadline` ends everything."""

    def __init__(self, *, rate: float, most: int, deadline: Deadline) -> None:
        self._pause = 1 / rate
        self._most = most
        self._deadline = deadline
        self._next = time.monotonic()
        self._waits = 0
        self.sent = 0

    def may_send(self) -> str:
        """Wait for the next turn; return why there is none, empty when there is."""
        if self.sent >= self._most:
            return f"{self._most} requests were sent, and no more are allowed"
        if not self._deadline.wait(max(self._next - time.monotonic(), 0.0)):
            return f"the time of {self._deadline.seconds:g} seconds was over"
        self._next = time.monotonic() + self._pause
        self.sent += 1
        return ""

    def obey(self, retry_after: float | None) -> str:
        """Wait as long as a busy server asks, and ask half as often from then on; return why not, else nothing."""
        self._pause *= 2
        wait = self._pause if retry_after is None else retry_after
        self._waits += 1
        if self._waits > MAX_WAITS or wait >= self._deadline.remaining:
            return f"the server is busy and asks to come back in {wait:.0f} seconds"
        self._next = time.monotonic() + wait
        return ""
