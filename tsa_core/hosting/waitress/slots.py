"""The slots for waitress's connections: no address takes more than its share, and a full server makes room."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any

from tsa_core.config import ServerSettings
from tsa_core.hosting.open_files import connection_limit
from tsa_core.hosting.slots import NEW_SECONDS, AddressShares, Candidate, in_closing_order

log = logging.getLogger(__name__)

_TURN_SECONDS = 1.0
_PAUSE_SECONDS = 0.05
_WARNING_PAUSE_SECONDS = 10.0


class Slots:
    """Counts waitress's channels by address, and closes some of them; for the I/O thread.

    It looks at all channels only once for several new ones, so that a flood of connections costs little for each.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._limit = connection_limit(settings)
        self._margin = max(1, self._limit // 20)
        self._shares = AddressShares(settings)
        self._by_holder: dict[str, dict[Any, None]] = {}
        self._next_room = 0.0
        self._next_warning = 0.0
        self._next_share_warning = 0.0
        self.added = 0
        """How many channels there have been."""
        self.letting_go = 0
        """How many clients are to connect again, because another worker has fewer."""

    def add(self, channel: Any) -> None:
        """Count a new channel. When its address has used up its share, close others of it, or else this one."""
        self.added += 1
        name = channel.holder = self._shares.holder(channel.addr[0]).name
        if not name:
            return
        held = self._by_holder.setdefault(name, {})
        held[channel] = None
        limit = self._shares.limit
        if len(held) <= limit:
            return
        self._warn_of_share(name, channel.addr[0])
        for candidate in in_closing_order(_candidates(list(held)[:-1]))[: 1 + limit // 16]:
            candidate.connection.handle_close()
        if len(held) > limit:
            channel.handle_close()

    def remove(self, channel: Any) -> None:
        """Count a channel no more; without effect for one that was not counted."""
        name = channel.holder
        held = self._by_holder.get(name)
        if held is not None:
            held.pop(channel, None)
            if not held:
                del self._by_holder[name]

    def pause_seconds(self, connections: int) -> float:
        """Return how long a turn of the loop may wait for events: not long when room has to be made."""
        return _TURN_SECONDS if connections < self._limit - self._margin else _PAUSE_SECONDS

    def nearly_full(self, connections: int) -> bool:
        """Say whether it is time for `make_room`."""
        return connections >= self._limit - self._margin and time.monotonic() >= self._next_room

    def make_room(self, connections: int, channels: Iterable[Any]) -> None:
        """Close connections that are idle, and requests that do not arrive."""
        excess = connections - (self._limit - 2 * self._margin)
        closing = in_closing_order(_candidates(channels, self._shares), min_seconds=NEW_SECONDS)[:excess]
        for candidate in closing:
            candidate.connection.handle_close()
        now = time.monotonic()
        if len(closing) < excess:
            self._next_room = now + _PAUSE_SECONDS
        if now >= self._next_warning:
            self._next_warning = now + _WARNING_PAUSE_SECONDS
            log.warning(
                "%d of %d connections are in use; the oldest that are idle or whose request does not arrive are closed "
                "to make room ([server] connection_limit)",
                connections,
                self._limit,
            )

    def _warn_of_share(self, name: str, address: str) -> None:
        now = time.monotonic()
        if now >= self._next_share_warning:
            self._next_share_warning = now + _WARNING_PAUSE_SECONDS
            log.warning(
                "%s has its share of the connections, %d of %d; the oldest of them are closed ([server] "
                "connection_share; a reverse proxy belongs into trusted_proxies)",
                address if "/" not in name else name,
                self._shares.limit,
                self._limit,
            )


def _candidates(channels: Iterable[Any], shares: AddressShares | None = None) -> Iterator[Candidate]:
    now, wall = time.monotonic(), time.time()  # waitress notes activity by this clock
    for channel in channels:
        if (channel.requests and not channel.held) or channel.awaits_reply:
            continue  # it is being answered
        idle = wall - channel.last_activity
        unread = bool(channel.total_outbufs_len)
        arriving = channel.request is not None and not unread
        yield Candidate(
            channel,
            now - channel.request.began if arriving else idle,
            unfinished=unread or arriving or channel.handshaking,
            served=channel.current_outbuf_count > 0,  # waitress never sets it back to 0
            trusted=shares is not None and shares.holder(channel.addr[0]).trusted,
        )
