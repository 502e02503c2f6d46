"""Clients that mean harm, and honest ones beside them, against a server process."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asn1crypto import parser, tsp

from tests.http_replies import only_reply
from tests.tls_material import TlsMaterial
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.testing import ServerProcess

REQUEST = encode_request(algorithm=SHA256, digest=bytes(32), nonce=1, cert_req=True)
PATH = "/api/v1/timestamp"
HONEST_SECONDS = 90.0
"""Whoever waits longer is shut out. It is far above what an honest client waits, and a busy machine is slow."""


def head(*lines: str, method: str = "POST", path: str = PATH, version: str = "HTTP/1.1") -> bytes:
    """Return a request's head; the type of the body stands in it, its length does not."""
    fields = [f"{method} {path} {version}", "Host: tsa.example", "Content-Type: application/timestamp-query", *lines]
    return "\r\n".join([*fields, "", ""]).encode("latin-1")


KINDS = {
    "waitress": ("http", ["--scheme", "http", "--server", "waitress"]),
    "granian-tls": ("https", ["--scheme", "https"]),
    "granian-plain": ("http", ["--scheme", "http", "--server", "granian"]),
}
"""The servers that are attacked: the scheme, and flags of `timestamp-server serve`."""

GOOD = head(f"Content-Length: {len(REQUEST)}") + REQUEST


@dataclass(frozen=True)
class Target:
    """A server under attack, over TLS or without."""

    server: ServerProcess
    scheme: str
    tls: TlsMaterial
    name: str

    def connect(self, *, handshake: bool = True, timeout: float = HONEST_SECONDS) -> socket.socket:
        """Open a connection; over TLS unless `handshake` is to be left out."""
        raw = socket.create_connection(self.server.address(self.scheme), timeout=timeout)
        if self.scheme == "http" or not handshake:
            return raw
        return self.tls.client_context().wrap_socket(raw, server_hostname="127.0.0.1")

    def stamp(self) -> float:
        """Get one timestamp as an honest client does; return how many seconds it took."""
        started = time.monotonic()
        with self.connect() as connection:
            connection.sendall(GOOD)
            status, _, body = only_reply(connection)
        assert status == 200
        assert parser.parse(body)[4]
        assert tsp.TimeStampResp.load(body)["status"]["status"].native == "granted"
        return time.monotonic() - started

    def exchange(self, data: bytes, *, limit: int = 1_000_000) -> bytes:
        """Send bytes and return all that comes back until the server closes or says no more."""
        return self.exchange_until(data, limit=limit, seconds=0.4)[0]

    def exchange_until(
        self, data: bytes, *, limit: int = 1_000_000, seconds: float = HONEST_SECONDS
    ) -> tuple[bytes, bool]:
        """The same, but wait for so long; returns also whether the server has closed."""
        received = b""
        with self.connect() as connection:
            connection.settimeout(seconds)
            with suppress(OSError):  # it has closed already
                connection.sendall(data)
            try:
                while len(received) < limit and (part := connection.recv(65536)):
                    received += part
            except TimeoutError:
                return received, False
            except OSError:
                return received, True
        return received, len(received) < limit


@contextmanager
def served(kind: str, folder: Path, *flags: str, environ: Mapping[str, str] | None = None) -> Iterator[Target]:
    """Serve in one of the ways in KINDS; `folder` takes the files for TLS."""
    scheme, chosen = KINDS[kind]
    tls = TlsMaterial(folder)
    if scheme == "https":
        certificate, key = tls.write("server")
        chosen = [*chosen, "--tls-port", "0", "--tls-certificate", str(certificate), "--tls-key", str(key)]
    more = ["--port", "0", "--graceful-timeout", "2s", *flags]
    with ServerProcess(None, *chosen, *more, environ=environ) as server:
        target = Target(server, scheme, tls, kind)
        target.stamp()
        yield target


class Reply(NamedTuple):
    """One reply: its status, its headers by their names in lower case, and its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def replies(received: bytes) -> list[Reply]:
    """Return every reply in what came back; a body ends where its Content-Length says, or with what came back.

    Bodies are DER, which ends without a line break: the next reply begins in the middle of a line.
    """
    found = []
    while received.startswith(b"HTTP/1."):
        top, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split()[1])
        length = 0 if status == 100 else int(headers.get("content-length", len(rest)))
        found.append(Reply(status, headers, rest[:length]))
        received = rest[length:]
    assert not received, received
    return found


def statuses(received: bytes) -> list[int]:
    """Return the status of every reply in what came back."""
    return [each.status for each in replies(received)]


def idle_connections(wanted: int) -> int:
    """Return how many connections this process may hold, `wanted` at most, after raising its limit on open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted + 500
    if soft != resource.RLIM_INFINITY and soft < need:
        target = need if hard == resource.RLIM_INFINITY else min(need, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        soft = target
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, soft - 500)


@contextmanager
def held(target: Target, count: int, data: bytes = b"", *, handshake: bool = True) -> Iterator[list[socket.socket]]:
    """Hold connections open, each of which has sent `data`; those that the server refuses are left out."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            try:
                connection = target.connect(handshake=handshake)
                opened.append(stack.enter_context(connection))
                if data:
                    connection.sendall(data)
            except OSError:
                continue
        yield opened


def resident_octets(server: ServerProcess) -> int:
    """Return the memory of the server and its workers."""
    pids = [server.process.pid, *_descendants(server.process.pid)]
    return sum(_resident_octets(pid) for pid in pids)


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in children for each in (int(child), *_descendants(int(child)))]


def _resident_octets(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
