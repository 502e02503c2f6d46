"""Listening sockets, opened before the servers so that several processes can share them."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

from tsa_core.api import ConfigError, cannot_listen
from tsa_core.config import ServerSettings
from tsa_core.hosting.open_files import allow_many_open_files
from tsa_core.hosting.profiling import listen_for_profiling
from tsa_core.values import Value

_BACKLOG = 1024
_PORTS = 20
"""How many ports are tried that the system offers for the first address, until one is free at all of them."""
_ALL, _ALL_IPV4 = "::", "0.0.0.0"  # noqa: S104 - the operator asks for it
_Address: TypeAlias = "tuple[socket.AddressFamily, tuple[Any, ...]]"
_PROBES = 3
"""A connection is closed after so many keep-alive probes without an answer."""


class Listeners(Value):
    """The open sockets of a server: plain ones (http and unix), and those for TLS."""

    plain: Sequence[socket.socket]
    tls: Sequence[socket.socket]
    unix_path: Path | None = None
    profiling: socket.socket | None = None

    @property
    def urls(self) -> list[str]:
        """Where the server listens, `unix:PATH` for a Unix socket."""
        return [*urls(self.plain), *urls(self.tls, scheme="https")]

    @property
    def facts(self) -> dict[str, object]:
        """What the operator is told: where the server listens, and where it answers profiling requests."""
        profiling = urls([self.profiling]) if self.profiling else []
        return {"addresses": self.urls, "profiling": [f"{url}/debug/pprof/" for url in profiling]}

    def turn_away(self) -> None:
        """Close the connections that wait to be accepted, when no process accepts any more."""
        for each in (*self.plain, *self.tls):
            turn_away(each)

    def close(self) -> None:
        """Close the sockets and remove the file of a Unix socket."""
        for each in (*self.plain, *self.tls, self.profiling):
            if each is not None:
                each.close()
        if self.unix_path is not None:
            self.unix_path.unlink(missing_ok=True)


def open_listeners(settings: ServerSettings) -> Listeners:
    """Return the listening sockets of all `schemes`; raises ConfigError when one cannot listen."""
    allow_many_open_files()
    plain: list[socket.socket] = []
    tls: list[socket.socket] = []
    unix_path: Path | None = None
    try:
        if "http" in settings.schemes:
            plain += _listen_on(settings.host, settings.port, settings, flags="--host and --port")
        if "https" in settings.schemes:
            hosts = settings.tls_host or settings.host
            tls += _listen_on(hosts, settings.tls_port, settings.over_tls(), flags="--tls-host and --tls-port")
        if "unix" in settings.schemes and settings.socket_path is not None:
            plain.append(_listen_on_unix(settings.socket_path, int(settings.socket_mode, 8)))
            unix_path = settings.socket_path
        profiling = listen_for_profiling(settings.profiling_port) if settings.profiling else None
    except BaseException:
        Listeners(plain=plain, tls=tls, unix_path=unix_path).close()
        raise
    return Listeners(plain=plain, tls=tls, unix_path=unix_path, profiling=profiling)


def turn_away(listening: socket.socket) -> None:
    """Close the connections that wait at a listening socket: their clients would wait until the process ends."""
    with suppress(OSError):  # mostly because there are none left
        for _ in range(_BACKLOG):
            listening.accept()[0].close()


def listen(settings: ServerSettings) -> list[socket.socket]:
    """Return a listening TCP socket for each address of the hosts; raises ConfigError when one cannot listen."""
    return _listen_on(settings.host, settings.port, settings, flags="--host and --port")


def _listen_on(hosts: Sequence[str], port: int, settings: ServerSettings, *, flags: str) -> list[socket.socket]:
    for attempt in range(_PORTS):
        chosen = port
        opened: list[socket.socket] = []
        for host, address in _addresses(hosts, port, flags=flags):
            try:
                opened.append(_listen_at(address, chosen, settings))
            except OSError as error:
                if error.errno == errno.EAFNOSUPPORT and host not in hosts:
                    continue
                for each in opened:
                    each.close()
                if not port and opened and error.errno == errno.EADDRINUSE and attempt < _PORTS - 1:
                    break
                raise _cannot_listen(host, port, error, flags=flags) from None
            # Port 0: all addresses get the port that the system chose for the first one.
            chosen = opened[-1].getsockname()[1]
        else:
            return opened
    raise AssertionError("the last attempt returns or raises")


def _listen_at(address: _Address, port: int, settings: ServerSettings) -> socket.socket:
    family, location = address
    new = socket.socket(family, socket.SOCK_STREAM)
    try:
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _enable_keep_alive(new, settings.tcp_keep_alive)
        if family == socket.AF_INET6:
            # IPv4 has sockets of its own, so that its clients have addresses of IPv4 in logs and rules.
            new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        new.bind((location[0], port, *location[2:]))
        new.listen(_BACKLOG)
        new.setblocking(False)
    except OSError:
        new.close()
        raise
    return new


def _addresses(hosts: Sequence[str], port: int, *, flags: str) -> list[tuple[str, _Address]]:
    """Return each address of the hosts once, with the host that it belongs to; `::` has those of IPv4 too."""
    found: dict[_Address, str] = {}
    for host in (*hosts, _ALL_IPV4) if _ALL in hosts else hosts:
        try:
            infos = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
            )
        except OSError as error:
            raise _cannot_listen(host, port, error, flags=flags) from None
        for family, _, _, _, location in infos:
            found.setdefault((family, location), host)
    return [(host, address) for address, host in found.items()]


def _cannot_listen(host: str, port: int, error: OSError, *, flags: str) -> ConfigError:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    remedy = {
        errno.EADDRINUSE: "stop what listens there, or ",
        errno.EACCES: "ports below 1024 need the capability CAP_NET_BIND_SERVICE; give it, or ",
        errno.EADDRNOTAVAIL: "this machine does not have the address; ",
    }.get(error.errno or 0, "")
    return cannot_listen(
        f"cannot listen on {where}: {error.strerror or error}; {remedy}choose another address with {flags}", error
    )


def _enable_keep_alive(listening: socket.socket, period: timedelta) -> None:
    """Turn TCP keep-alive on for every connection that the socket will accept: they inherit it."""
    seconds = int(period.total_seconds())
    if seconds < 1:
        return
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", seconds), ("TCP_KEEPINTVL", seconds), ("TCP_KEEPCNT", _PROBES)):
        if hasattr(socket, name):  # not every system has all three
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), min(value, 32767))


def _listen_on_unix(path: Path, mode: int) -> socket.socket:
    new = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_stale(path):
            path.unlink(missing_ok=True)
        # The umask denies between bind and chmod what the mode denies afterwards.
        before = os.umask(0o777 & ~mode)
        try:
            new.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(mode)
        new.listen(_BACKLOG)
        new.setblocking(False)
    except OSError as error:
        new.close()
        reason = "a server listens there already" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise cannot_listen(
            f"cannot listen on the Unix socket {path}: {reason}; choose another with --socket-path", error
        ) from None
    return new


def _is_stale(path: Path) -> bool:
    """Say whether there is a socket on which no process listens: a killed server leaves one."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"{path} is there already and is no socket; choose another with --socket-path")
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
    return False


def urls(sockets: Sequence[socket.socket], *, scheme: str = "http") -> list[str]:
    """Return the URLs of listening sockets."""
    result = []
    for each in sockets:
        if each.family == socket.AF_UNIX:
            result.append(f"unix:{each.getsockname()}")
            continue
        host, port = each.getsockname()[:2]
        result.append(f"{scheme}://[{host}]:{port}" if each.family == socket.AF_INET6 else f"{scheme}://{host}:{port}")
    return result
