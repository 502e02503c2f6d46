"""The address of the client, behind proxies that are trusted and behind none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal, TypeAlias

from tsa_policy_network.options import Network

Address: TypeAlias = IPv4Address | IPv6Address
Client: TypeAlias = Address | Literal["unix"]

MAX_HOPS: Final = 32
"""More proxies in a row are an attack or a loop; the rest of the header is not read."""
_MAX_TEXT: Final = 64
_UNIX_PEERS: Final = frozenset({"unix", "", "localhost"})
"""What servers say of the client of a Unix socket: `timestamp-server serve`; gunicorn and uWSGI; waitress-serve."""


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """Return the address in `text`, None when there is none.

    A port and the brackets of an IPv6 address are dropped, as proxies write both; an IPv4 address that is mapped
    into IPv6, as sockets that listen on both report it, becomes the IPv4 address.
    """
    text = text.strip()
    if len(text) > _MAX_TEXT:
        return None
    if text.startswith("["):
        text, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not (rest.startswith(":") and rest[1:].isdigit())):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not port.isdigit():
            return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


def is_in(client: Client, networks: Sequence[Network]) -> bool:
    """Say whether one of the networks holds the client."""
    if client == "unix":
        return "unix" in networks
    return any(network != "unix" and client.version == network.version and client in network for network in networks)


def find_client(peer: str, forwarded: str | None, trusted: Sequence[Network]) -> Client | None:
    """Return the address of the client, `unix` for one that came over a Unix socket, None when it cannot be known.

    `peer` is the socket's. `forwarded` is the whole X-Forwarded-For header, to which each proxy appended the peer
    that it saw. It is read from its end, and only as long as the addresses are trusted proxies', because everything
    left of the first that is not may have been written by that one. A trusted proxy that forwards no header, or one
    that does not parse, leaves the client unknown: the proxy's own address would let everybody in.
    """
    client: Client | None = "unix" if peer in _UNIX_PEERS else parse_address(peer)
    if client is None or not is_in(client, trusted):
        return client
    if forwarded is None:
        return None
    address: Address | None = None
    for text in reversed(forwarded.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
        address = parse_address(text)
        if address is None or not is_in(address, trusted):
            return address
    # Nothing but trusted proxies: the request began at the one that is named first.
    return address if forwarded.count(",") < MAX_HOPS else None
