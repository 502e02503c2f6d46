"""Faults at the proxy in front: paths and addresses."""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.faults.fault import Act, Seen, fault
from bench.faults.scene import MEMORY, Scene, WatchedServer, in_words
from tests.deploy.proxies import HOST, PROXIES, SECONDS, make_tls, running
from tsa_core.testing import encode_request, wait_until

SPELLINGS = ("/readyz", "/readyz/", "//readyz", "/%72eadyz", "/%2freadyz", "/readyz%2f", f"https://{HOST}/readyz/")


@contextmanager
def proxied(name: str, server: WatchedServer) -> Iterator[tuple[int, ssl.SSLContext]]:
    """Run the sample of a proxy in front of a server; return its port and the TLS to speak to it."""
    with tempfile.TemporaryDirectory(prefix="tsa-proxy-") as folder:
        # Proxies that are started by root give their rights away, and must still find their files.
        Path(folder).chmod(0o755)
        tls = make_tls(Path(folder))
        command, port = PROXIES[name](Path(folder), tls, server.port)
        with running(command, port=port, log=Path(folder) / "log"):
            context = ssl.create_default_context(cafile=str(tls.certificate))
            # HAProxy asks /readyz first.
            wait_until(lambda: get(port, context, "/ping") == 200, seconds=SECONDS, what="the proxy finds the server")
            yield port, context


def exchange(port: int, context: ssl.SSLContext, head: str, body: bytes = b"", *, source: str = "127.0.0.1") -> bytes:
    """Send a request as it is, and return all that comes."""
    with (
        socket.create_connection(("127.0.0.1", port), SECONDS, source_address=(source, 0)) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as encrypted,
    ):
        encrypted.sendall(f"{head}\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode() + body)
        return b"".join(iter(lambda: encrypted.recv(65536), b""))


def get(port: int, context: ssl.SSLContext, path: str) -> int:
    """Return the status of a path, asked for as it is."""
    return int(exchange(port, context, f"GET {path} HTTP/1.1").split(b" ", 2)[1])


def spelled(name: str) -> Act:
    """Return a fault: what is for operators is asked for in every spelling."""

    def act(scene: Scene) -> Seen:
        with scene.serve(MEMORY) as server:
            assert all(server.get(path).status == 200 for path in SPELLINGS[:-1]), "the server itself takes them all"
            with proxied(name, server) as (port, context):
                statuses = {get(port, context, path) for path in SPELLINGS}
                assert statuses <= {400, 404}, statuses
                assert get(port, context, "/ping") == 200
        return Seen(client=", ".join(f"HTTP {status}" for status in sorted(statuses)), also="nothing", healed="-")

    return act


def made_up(name: str) -> Act:
    """Return a fault: a client makes up the address that a policy lets in."""
    policy = (
        '[policy]\nselectors = ["network"]\n[policy.network]\notherwise = "refuse"\n'
        'trusted_proxies = ["127.0.0.1"]\n[[policy.network.rules]]\nnetworks = ["127.0.0.2"]\n'
    )

    def act(scene: Scene) -> Seen:
        request = encode_request()
        head = (
            "POST /api/v1/timestamp HTTP/1.1\r\nContent-Type: application/timestamp-query\r\n"
            f"X-Forwarded-For: 127.0.0.2\r\nForwarded: for=127.0.0.2\r\nContent-Length: {len(request)}"
        )
        with scene.serve(MEMORY + policy) as server, proxied(name, server) as (port, context):
            granted = bytes.fromhex("3003020100")
            assert granted in exchange(port, context, head, request, source="127.0.0.2")
            refused = exchange(port, context, head, request, source="127.0.0.3")
            assert granted not in refused
            log = server.logged("refused=")
        return Seen(client="`badRequest`", log=log, healed="-")

    return act


@fault("proxy-unix-socket", "A client of the Unix socket; a policy refuses a network and asks the next selector else")
def unix_socket(scene: Scene) -> Seen:
    """A client without a network is refused."""
    path, request = scene.folder / "tsa.sock", encode_request()
    policy = (
        '[policy]\nselectors = ["network", "oid"]\n[policy.network]\n[[policy.network.rules]]\n'
        'networks = ["192.0.2.0/24"]\nrefuse = true\n'
    )
    with scene.serve(MEMORY + policy, "--scheme", "unix", "--socket-path", path) as server:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(
                b"POST /api/v1/timestamp HTTP/1.1\r\nHost: tsa\r\nContent-Type: application/timestamp-query\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(request) + request
            )
            reply = b"".join(iter(lambda: client.recv(65536), b""))
        log = server.logged("policy.network: requests are refused")
    return Seen(client=in_words(200, reply.partition(b"\r\n\r\n")[2], 0).words, log=log, healed="with `unix` in a rule")


for _name in PROXIES:
    fault(f"proxy-spellings-{_name}", f"{_name}; clients ask for {', '.join(f'`{path}`' for path in SPELLINGS)}")(
        spelled(_name)
    )
    fault(f"proxy-address-{_name}", f"{_name}; a client writes the address that a policy lets in into its headers")(
        made_up(_name)
    )
