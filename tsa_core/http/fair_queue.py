"""Whose request is next when more wait than can be answered at once: each address has its turn, then the next one."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Any


class FairQueue:
    """Connections with a complete request, in a line for each holder; the lines take turns.

    A connection's `holder` is the address, or network, that it counts for. One without a holder, a trusted proxy's for
    example, has a line of its own. Every call takes constant time.
    """

    def __init__(self) -> None:
        self.lines: dict[Hashable, deque[Any]] = {}
        """The lines, that whose turn is next in front; empty when nobody waits."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, channel: Any) -> None:
        """Let a connection wait, behind the others of its holder."""
        holder = channel.holder or channel
        line = self.lines.get(holder)
        if line is None:
            self.lines[holder] = deque((channel,))
        else:
            line.append(channel)
        self._count += 1

    def take(self) -> Any:
        """Remove and return the connection whose turn it is; raises StopIteration when none waits."""
        holder = next(iter(self.lines))
        line = self.lines.pop(holder)
        channel = line.popleft()
        if line:
            self.lines[holder] = line
        self._count -= 1
        return channel

    def remove(self, channel: Any) -> None:
        """Remove the connection that has waited longest of its holder's."""
        holder = channel.holder or channel
        line = self.lines[holder]
        line.remove(channel)
        if not line:
            del self.lines[holder]
        self._count -= 1
