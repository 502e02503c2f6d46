"""Waits for the sockets of waitress's channels, at a cost that does not grow with the number of idle connections.

waitress's own loop asks every connection at every turn whether it waits to read or write, so 1,000 idle clients cost
more than 16 busy ones. This loop uses epoll, which keeps that list in the kernel. A connection is asked again only
after an event, after its request was answered, or after the sweep for idle connections.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from waitress import wasyncore

_READ = select.POLLIN | select.POLLPRI
_FAILED = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Poller(dict[int, Any]):
    """The map from descriptors to waitress's channels, servers and triggers, and the loop over it.

    waitress adds to its map and removes from it; this map passes both on to the kernel. `turns` counts the turns of
    the loop. The caller answers every complete request before the next turn, so a channel with such a request is not
    asked until then. That saves two system calls for each request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0
        self._interest: dict[int, int] = {}
        self._poll: Any
        self._wait: Callable[[float], list[tuple[int, int]]]
        if hasattr(select, "epoll"):
            self._poll = select.epoll()
            self._wait = self._poll.poll
        else:
            self._poll = select.poll()
            self._wait = lambda seconds: self._poll.poll(int(seconds * 1000))

    def __setitem__(self, descriptor: int, channel: Any) -> None:
        """Watch a channel that waitress has made."""
        super().__setitem__(descriptor, channel)
        self._interest[descriptor] = 0
        # A channel adds itself before it has all its attributes, so it is not asked: a new one always waits to read.
        self._watch(descriptor, _READ)

    def __delitem__(self, descriptor: int) -> None:
        """Stop watching a channel that waitress is about to close."""
        super().__delitem__(descriptor)
        if self._interest.pop(descriptor, 0):
            self._poll.unregister(descriptor)

    def turn(self, timeout: float) -> None:
        """Wait for events, `timeout` seconds at most, and let the channels handle them.

        Connections are accepted last: a new one may get the descriptor of one that was closed in this turn.
        """
        self.turns += 1
        listening = []
        for descriptor, flags in self._wait(timeout):
            channel = self.get(descriptor)
            if channel is None:
                continue  # closed by an event before this one
            if channel.accepting:
                listening.append((channel, flags))
                continue
            wasyncore.readwrite(channel, flags & (_READ | select.POLLOUT | _FAILED))
            if not getattr(channel, "requests", None):
                self.refresh(channel)
        for server, flags in listening:
            wasyncore.readwrite(server, flags & (_READ | _FAILED))
            self.refresh(server)

    def refresh(self, channel: Any) -> None:
        """Ask a channel again what it waits for."""
        descriptor: int | None = channel._fileno  # waitress's name for the descriptor; None once closed
        if descriptor is None or descriptor not in self:
            return
        wanted = _READ if channel.readable() else 0
        if channel.writable():
            wanted |= select.POLLOUT
        self._watch(descriptor, wanted)

    def refresh_all(self) -> None:
        """Ask every channel again, after a sweep, which may have marked any of them for closing."""
        for channel in list(self.values()):
            self.refresh(channel)

    def _watch(self, descriptor: int, wanted: int) -> None:
        """Tell the kernel what to wait for.

        A descriptor with nothing to wait for is removed, because the kernel would report its hang-up at every turn.
        """
        before = self._interest[descriptor]
        if before == wanted:
            return
        self._interest[descriptor] = wanted
        if not before:
            self._poll.register(descriptor, wanted)
        elif wanted:
            self._poll.modify(descriptor, wanted)
        else:
            self._poll.unregister(descriptor)

    def close(self) -> None:
        """Close all channels and the kernel's list."""
        wasyncore.close_all(self)
        if hasattr(self._poll, "close"):
            self._poll.close()
