"""Connection slots: how many one address may hold, and which connections are closed when they run out.

waitress and granian both follow these rules. Each knows in its own way how long a connection has been idle, or its
request unfinished.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple

from tsa_core.config import ServerSettings
from tsa_core.hosting.open_files import connection_limit

NEW_SECONDS = 0.1
"""A connection that has been open for less may be an honest client's, whose request has just not been read."""
_FRESH_SECONDS = 1.0
_MAX_KNOWN = 4096
_IPV6_PREFIX = 64
"""Whoever has one address of IPv6 has as many as this leaves (RFC 6177)."""


class Candidate(NamedTuple):
    """A connection that no request is answered on, and so may be closed.

    `seconds` says for how long it has been idle or, when `unfinished`, since its request began to arrive or its client
    began not to read. One that has `served` a request may be about to send the next. `trusted` means that a trusted
    proxy holds it.
    """

    connection: Any
    seconds: float
    unfinished: bool
    served: bool
    trusted: bool = False


def in_closing_order(candidates: Iterable[Candidate], *, min_seconds: float = 0.0) -> list[Candidate]:
    """Return those candidates that may be closed, the first ones in front; none that is younger than `min_seconds`.

    First those that have been idle for a second or more, then the requests that have been unfinished for as long, then
    the younger ones of both kinds; of each the oldest first, and of trusted proxies only when there are no others. A
    connection that has served a request within the last second is left open.
    """

    def rank(each: Candidate) -> tuple[bool, int, float]:
        kind = 2 if each.seconds < _FRESH_SECONDS else int(each.unfinished)
        return each.trusted, kind, -each.seconds

    def closable(each: Candidate) -> bool:
        fresh = each.served and not each.unfinished
        return each.seconds >= (_FRESH_SECONDS if fresh else min_seconds)

    return sorted(filter(closable, candidates), key=rank)


class Holder(NamedTuple):
    """Whose share a connection counts for: the `name` is empty when it is nobody's."""

    name: str
    trusted: bool = False


class AddressShares:
    """The number of connections, `limit`, that one address may hold, or one /64 network of IPv6.

    Trusted proxies and clients of a Unix socket may hold any number.
    """

    def __init__(self, settings: ServerSettings) -> None:
        total = connection_limit(settings)
        self.limit = max(1, int(total * settings.connection_share))
        self._trusted = settings.trusted_proxies
        self._bounded = self.limit < total
        self._holders: dict[str, Holder] = {}

    def holder(self, address: str) -> Holder:
        """Return whose share a connection from an address counts for."""
        known = self._holders.get(address)
        if known is None:
            if len(self._holders) >= _MAX_KNOWN:
                self._holders.clear()
            known = self._holders[address] = self._find(address)
        return known

    def _find(self, address: str) -> Holder:
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return Holder("")  # a Unix socket's
        if isinstance(found, IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        if any(found.version == each.version and found in each for each in self._trusted):
            return Holder("", trusted=True)
        if not self._bounded:
            return Holder("")
        if isinstance(found, IPv6Address):
            return Holder(str(IPv6Network((found, _IPV6_PREFIX), strict=False)))
        return Holder(str(found))
