"""Asking a server that runs on this machine, at the address that its own configuration says."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from tsa_core.api import TsaError
from tsa_core.config import ServerSettings

_MAX_OCTETS: Final = 8 << 20
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - what stands for all addresses


class NoAnswer(TsaError):
    """Nobody answers at an address, or not as a timestamp-server does."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the server answered."""

    status: int
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server listens. `url` is what people read; `connect` opens a connection within so many seconds."""

    url: str
    connect: Callable[[float], http.client.HTTPConnection]

    def get(self, path: str, *, seconds: float) -> Reply:
        """GET a path; raises NoAnswer. No proxy is asked, and no name but the address's is looked up."""
        try:
            connection = self.connect(seconds)
        except OSError as error:
            raise NoAnswer(f"{self.url} cannot be asked: {_reason(error)}") from None
        try:
            connection.request("GET", path, headers={"Connection": "close", "User-Agent": "timestamp-server status"})
            answer = connection.getresponse()
            return Reply(status=answer.status, body=answer.read(_MAX_OCTETS))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoAnswer(f"{self.url} does not answer: {_reason(error)}") from None
        finally:
            connection.close()


def configured_addresses(server: ServerSettings) -> list[Address]:
    """Return where a server with these settings can be asked on this machine, the plainest first.

    An address that answers nothing but /ping comes last. A port of 0, which the system chooses, is in no list.
    """
    found = []
    if "unix" in server.schemes and server.socket_path is not None:
        found.append(_unix(server.socket_path))
    if "http" in server.schemes and server.port:
        found.append(_plain(_local(server.host[0]), server.port))
    if "https" in server.schemes and server.tls_port:
        address = _tls(_local((server.tls_host or server.host)[0]), server.tls_port, _own_context(server))
        found.insert(0 if server.http_ping_only else len(found), address)
    return found


def address_of(url: str) -> Address:
    """Return the address that a URL names; raises UsageError for what is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise click.UsageError(f"--url {url} has no host or no port that can be") from None
    if url.startswith("unix:"):
        return _unix(Path(url.removeprefix("unix:")))
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise click.UsageError("--url is http://HOST:PORT, https://HOST:PORT or unix:PATH")
    if parts.scheme == "https":
        return _tls(parts.hostname, port or 443, ssl.create_default_context())
    return _plain(parts.hostname, port or 80)


def _local(host: str) -> str:
    return _EVERYWHERE.get(host, host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _plain(host: str, port: int) -> Address:
    return Address(
        url=f"http://{_bracketed(host)}:{port}",
        connect=lambda seconds: http.client.HTTPConnection(host, port, timeout=seconds),
    )


def _tls(host: str, port: int, context: ssl.SSLContext) -> Address:
    return Address(
        url=f"https://{_bracketed(host)}:{port}",
        connect=lambda seconds: http.client.HTTPSConnection(host, port, timeout=seconds, context=context),
    )


def _own_context(server: ServerSettings) -> ssl.SSLContext:
    """Return a context that takes what answers at our own address and port for our server.

    Its certificate is for the name that clients use, not for the address of this machine; nothing secret is sent.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if server.tls_ca is not None and server.tls_certificate and server.tls_key:
        # Clients must show a certificate; the server's own may do, when its CA is among those that are accepted.
        with contextlib.suppress(OSError, ssl.SSLError):
            context.load_cert_chain(server.tls_certificate, server.tls_key, password="")
    return context


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _unix(path: Path) -> Address:
    return Address(url=f"unix:{path}", connect=lambda seconds: _UnixConnection(path, seconds))


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "nothing came in time"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there; is the server running?"
    if isinstance(error, FileNotFoundError):
        return "there is no such socket; is the server running?"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    return " ".join(str(getattr(error, "strerror", None) or str(error) or type(error).__name__).split())[:200]


def metrics_address(host: str, port: int) -> Address:
    """Return where a server with these settings shows its metrics."""
    return _plain(_local(host), port)
