"""Listening sockets, made before the server so that several processes can share them."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from tsa_core.api import ConfigError
from tsa_core.config import ServerSettings

_BACKLOG = 1024


def listen(settings: ServerSettings) -> list[socket.socket]:
    """Return a listening TCP socket for each address of the host; raises ConfigError when one cannot listen."""
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
        port = settings.port
        for family, kind, protocol, _, address in found:
            new = socket.socket(family, kind, protocol)
            opened.append(new)
            new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Port 0: every address gets the port that the first one was given.
            new.bind((address[0], port, *address[2:]))
            port = new.getsockname()[1]
            new.listen(_BACKLOG)
            new.setblocking(False)
    except OSError as error:
        for each in opened:
            each.close()
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; "
            "choose another address with --host and --port"
        ) from None
    return opened


def urls(sockets: Sequence[socket.socket], *, scheme: str = "http") -> list[str]:
    """Return the URLs of listening sockets."""
    result = []
    for each in sockets:
        host, port = each.getsockname()[:2]
        result.append(f"{scheme}://[{host}]:{port}" if each.family == socket.AF_INET6 else f"{scheme}://{host}:{port}")
    return result
