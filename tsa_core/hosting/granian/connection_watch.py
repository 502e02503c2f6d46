"""Closes granian's connections that exceed a timeout or their share, and makes room when slots run out.

granian limits the time for a request's head, and nothing before or after it. A client that never finishes its TLS
handshake, or never reads its reply, would hold its connection for ever. The kernel tells which connections those are.
It needs Linux; on other systems this module does nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from socket import socket

from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.kernel_connections import KernelConnection, KernelConnections
from tsa_core.hosting.granian.peers import Peers
from tsa_core.hosting.open_files import connection_limit
from tsa_core.hosting.slots import NEW_SECONDS, AddressShares, Candidate, in_closing_order

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.5
_FULL_PAUSE_SECONDS = 0.1
_SLACK_SECONDS = 1.0
"""How much later a request is ended here than by granian, which answers with 408."""
_WARNING_PAUSE_SECONDS = 10.0


class ConnectionWatch:
    """Watches the connections to some listening sockets. `peers` are their clients."""

    def __init__(self, settings: ServerSettings, listening: Sequence[socket], peers: Peers | None = None) -> None:
        self._connections = KernelConnections(listening)
        self._peers = peers or Peers()
        self._read_seconds = settings.read_timeout.total_seconds()
        self._write_seconds = settings.write_timeout.total_seconds()
        self._idle_seconds = settings.idle_timeout.total_seconds()
        self._limit = connection_limit(settings)
        self._shares = AddressShares(settings)
        self._next_warning = {"room": 0.0, "share": 0.0}
        self.count = 0
        """How many connections the last sweep left open."""

    def sweep(self) -> float:
        """Check all connections once; returns the seconds until the next check."""
        if not self._connections.visible:
            return _PAUSE_SECONDS
        now = time.monotonic()
        rest: dict[KernelConnection, Candidate | None] = {}
        for connection in self._connections.look():
            answering = self._peers.is_answered(connection.client)
            self._note_unfinished(connection, now, answering=answering)
            self._note_unasked(connection, now)
            if self._timed_out(connection, now, answering=answering):
                connection.end()
            else:
                rest[connection] = None if answering else self._candidate(connection, now)
        self._peers.forget_all_but({each.client for each in rest})
        self._keep_shares(rest)
        self._make_room(rest)
        self.count = len(rest)
        return _FULL_PAUSE_SECONDS if len(rest) > 0.9 * self._limit else _PAUSE_SECONDS

    @property
    def sees_all(self) -> bool:
        """Whether `count_arriving` and `end_all` know of every connection."""
        return self._connections.all_visible

    def count_arriving(self) -> int:
        """Count the connections on which a request has begun to arrive that granian has not handed over."""
        return sum(
            self._arrives(each) and not self._peers.is_answered(each.client) for each in self._connections.look()
        )

    def end_all(self) -> int:
        """Close every connection; returns how many there were."""
        return sum(connection.end() for connection in list(self._connections.look()))

    def end_client(self, client: str) -> bool:
        """Close the connection of the client with this address and port; returns whether there was one."""
        host, _, port = client.rpartition(":")
        wanted = host.strip("[]"), port
        return any(each.end() for each in list(self._connections.look()) if each.client == wanted)

    def _note_unfinished(self, connection: KernelConnection, now: float, *, answering: bool) -> None:
        """Note since when a request has been arriving: octets have come after the last ones that were sent.

        With HTTP/2 octets may come without a request, so there only the first request counts.
        """
        if answering or not self._arrives(connection):
            connection.unfinished_since = None
        elif connection.unfinished_since is None:
            connection.unfinished_since = now if connection.answered else now - connection.unsent_seconds

    def _arrives(self, connection: KernelConnection) -> bool:
        """Say whether a request has begun to arrive that is not answered."""
        if not connection.received:
            return False
        return not connection.answered or (
            connection.idle_seconds < connection.unsent_seconds and not self._peers.speaks_http2(connection.client)
        )

    def _note_unasked(self, connection: KernelConnection, now: float) -> None:
        """Note since when a client over TLS has been there without the head of a request."""
        if self._peers.has_asked(connection.client):
            connection.unasked_since = None
        elif connection.unasked_since is None:
            connection.unasked_since = now

    def _timed_out(self, connection: KernelConnection, now: float, *, answering: bool) -> bool:
        read = self._read_seconds
        if self._write_seconds and connection.stuck_seconds > self._write_seconds:
            return True
        if answering:
            return False
        if read and not connection.received and connection.idle_seconds > read:
            return True
        for since in (connection.unfinished_since, connection.unasked_since):
            if read and since is not None and now - since > read + _SLACK_SECONDS:
                return True
        return connection.idle_seconds > self._idle_seconds + read

    def _candidate(self, connection: KernelConnection, now: float) -> Candidate:
        since, stuck = connection.unfinished_since, connection.stuck_seconds
        return Candidate(
            connection,
            stuck or (connection.idle_seconds if since is None else now - since),
            unfinished=since is not None or stuck > 0,
            # A client of HTTP/2 stays busy without a request, by PING.
            served=connection.answered and not self._peers.speaks_http2(connection.client),
            trusted=self._shares.holder(connection.client[0]).trusted,
        )

    def _keep_shares(self, rest: dict[KernelConnection, Candidate | None]) -> None:
        held: dict[str, list[KernelConnection]] = {}
        for connection in rest:
            if name := self._shares.holder(connection.client[0]).name:
                held.setdefault(name, []).append(connection)
        for name, connections in held.items():
            excess = len(connections) - self._shares.limit
            if excess > 0:
                candidates = [each for connection in connections if (each := rest[connection])]
                self._end(in_closing_order(candidates)[:excess], rest)
                if self._may_warn("share"):
                    log.warning(
                        "%s has its share of the connections, %d of %d; the oldest of them are closed ([server] "
                        "connection_share; a reverse proxy belongs into trusted_proxies)",
                        name,
                        self._shares.limit,
                        self._limit,
                    )

    def _make_room(self, rest: dict[KernelConnection, Candidate | None]) -> None:
        margin = max(1, self._limit // 20)
        if len(rest) < self._limit - margin:
            return
        count = len(rest)
        candidates = [each for each in rest.values() if each]
        order = in_closing_order(candidates, min_seconds=NEW_SECONDS)
        self._end(order[: count - (self._limit - 2 * margin)], rest)
        if self._may_warn("room"):
            log.warning(
                "%d of %d connections to granian are in use; the oldest that are idle or whose request does not arrive "
                "are closed to make room ([server] connection_limit)",
                count,
                self._limit,
            )

    @staticmethod
    def _end(closing: Sequence[Candidate], rest: dict[KernelConnection, Candidate | None]) -> None:
        for candidate in closing:
            candidate.connection.end()
            del rest[candidate.connection]

    def _may_warn(self, what: str) -> bool:
        now = time.monotonic()
        if now < self._next_warning[what]:
            return False
        self._next_warning[what] = now + _WARNING_PAUSE_SECONDS
        return True
