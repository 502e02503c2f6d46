"""Waits for the sockets of waitress's channels, at a cost that does not grow with the number of idle connections.

waitress's own loop asks every connection at every turn whether it waits to read or write, so 1,000 idle clients cost
more than 16 busy ones. This loop uses epoll, which keeps that list in the kernel. A connection is asked again only
after an event, after its request was answered, or after the sweep for idle connections.

Many clients open a connection for each request. Their request has usually arrived when the connection is accepted. So
a new connection is read at once, and the kernel is told of it only when it stays.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.channel import HTTPChannel

_READ = select.POLLIN | select.POLLPRI
_FAILED = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Poller(dict[int, Any]):
    """The map from descriptors to waitress's channels, servers and triggers, and the loop over it.

    waitress adds to its map and removes from it; this map passes both on to the kernel. `turns` counts the turns of
    the loop. The caller answers most complete requests before the next turn, so a channel with such a request is not
    asked until then. That saves two system calls for each request. One whose request waits for longer is asked when
    more arrives on it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0
        self._interest: dict[int, int] = {}
        self._new: list[Any] = []
        self._poll: Any
        self._wait: Callable[[float], list[tuple[int, int]]]
        if hasattr(select, "epoll"):
            self._poll = select.epoll()
            self._wait = self._poll.poll
        else:
            self._poll = select.poll()
            self._wait = lambda seconds: self._poll.poll(int(seconds * 1000))

    def __setitem__(self, descriptor: int, channel: Any) -> None:
        """Add a channel that waitress makes. It has not all its attributes yet, so it is asked later."""
        super().__setitem__(descriptor, channel)
        self._interest[descriptor] = 0
        self._new.append(channel)

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
        if self._new:
            self._begin_new()
        listening = []
        for descriptor, flags in self._wait(timeout):
            channel = self.get(descriptor)
            if channel is None:
                continue  # closed by an event before this one
            if flags == select.POLLIN and isinstance(channel, HTTPChannel) and not channel.requests:
                self._read(channel)
                continue
            if channel.accepting:
                listening.append((channel, flags))
                continue
            if flags & _READ and getattr(channel, "requests", None):
                self.refresh(channel)  # its request waits for its turn; nothing is read until then
                # While a thread signs its request it is not closed: what was signed has its record when it is answered.
                failed = 0 if getattr(channel, "batched", None) is not None else _FAILED
                wasyncore.readwrite(channel, flags & (select.POLLOUT | failed))
                continue
            wasyncore.readwrite(channel, flags & (_READ | select.POLLOUT | _FAILED))
            if not getattr(channel, "requests", None):
                self.refresh(channel)
        for server, flags in listening:
            wasyncore.readwrite(server, flags & (_READ | _FAILED))
            self.refresh(server)
        if self._new:
            self._begin_new()

    def _begin_new(self) -> None:
        """Read new connections, and watch those that have not brought a complete request."""
        new, self._new = self._new, []
        for channel in new:
            if isinstance(channel, HTTPChannel):
                self._read(channel)
            else:
                self.refresh(channel)

    def _read(self, channel: Any) -> None:
        """Read from a channel, and ask it again what it waits for, unless it has a complete request now."""
        try:
            channel.handle_read()
        except Exception:  # noqa: BLE001 - it logs the error and closes the connection, as waitress's loop does
            channel.handle_error()
        if not channel.requests:
            self.refresh(channel)

    def refresh(self, channel: Any) -> None:
        """Ask a channel again what it waits for."""
        descriptor: int | None = channel._fileno  # waitress's name for the descriptor; None once closed
        if descriptor is None or descriptor not in self:
            return
        wanted = _READ if channel.readable() else 0
        if channel.writable():
            wanted |= select.POLLOUT
        self._watch(descriptor, wanted)

    def go_on(self, channel: Any) -> None:
        """Go on reading from a channel that has nothing to send; one that is read already is not asked."""
        if channel.requests or self._interest.get(channel._fileno) != _READ:
            self.refresh(channel)

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
