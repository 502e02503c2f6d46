"""What the doctor says of the addresses where the server would listen: whether they are free, and who has them."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Iterator
from typing import Final

from tsa_core.cli.doctor_findings import Finding, Level
from tsa_core.cli.running_server import Address, NoAnswer, configured_addresses
from tsa_core.config import Settings

_SECTION: Final = "ports"
_SECONDS: Final = 3.0


def ports(settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each address of the settings; binds each for a moment, and listens nowhere."""
    server = settings.server
    wanted = []
    if "http" in server.schemes:
        wanted += [("http", host, server.port, "--port") for host in server.host]
    if "https" in server.schemes:
        wanted += [("https", host, server.tls_port, "--tls-port") for host in server.tls_host or server.host]
    if settings.metrics.enabled:
        wanted.append(("metrics", settings.metrics.host, settings.metrics.port, "--metrics-port"))
    if server.profiling:
        wanted.append(("profiling", "127.0.0.1", server.profiling_port, "--profiling-port"))
    ours = _answers(settings)
    for what, host, port, flag in wanted:
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        error = _why_taken(host, port)
        if error is None:
            free = "the system chooses a free port" if port == 0 else "is free"
            yield Finding(section=_SECTION, level=Level.GOOD, what=what, text=f"{where} {free}")
        elif error.errno == errno.EADDRINUSE and ours is not None:
            text = f"{where} is in use, and a timestamp-server answers at {ours.url}"
            yield Finding(section=_SECTION, level=Level.GOOD, what=what, text=text)
        else:
            yield Finding(
                section=_SECTION,
                level=Level.BAD,
                what=what,
                text=f"{where} cannot be listened on: {error.strerror or error}",
                remedy=f"{_remedy(error)}, or choose another with {flag}",
            )


def _why_taken(host: str, port: int) -> OSError | None:
    try:
        family, _, _, _, location = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(location)
    except OSError as error:
        return error
    return None


def _remedy(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "stop what listens there (ss -ltnp shows it)"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return "ports below 1024 need the capability CAP_NET_BIND_SERVICE"
    return "check the address"


def _answers(settings: Settings) -> Address | None:
    """Return where a timestamp-server answers already, None when none does."""
    for address in configured_addresses(settings.server):
        try:
            document = json.loads(address.get("/readyz", seconds=_SECONDS).body)
        except (NoAnswer, ValueError):
            continue
        if isinstance(document, dict) and "ready" in document:
            return address
    return None
