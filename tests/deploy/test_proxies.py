"""The nginx and HAProxy samples, run: TLS, addresses that nobody can make up, limits, servers that are not ready."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.proxies import HOST, PROXIES, SECONDS, Tls, haproxy, make_tls, running
from tsa_backends.server_process import free_port
from tsa_core.testing import HttpReply, ServerProcess, encode_request, on_threads, wait_until

pytestmark = pytest.mark.plugin("memory", "network", "auditfile")

GRANTED = bytes.fromhex("3003020100")
BAD_REQUEST = bytes.fromhex("03020520")
QUERY = {"Content-Type": "application/timestamp-query"}
NEIGHBOUR = "127.0.0.2"
"""Another address of this machine, which the server is told to serve; 127.0.0.1 it is not."""

CONFIG = f"""
[profiles.default]
signer = "memory:"

[policy]
selectors = ["network", "oid"]

[policy.network]
otherwise = "refuse"
trusted_proxies = ["127.0.0.1"]

[[policy.network.rules]]
networks = ["{NEIGHBOUR}/32"]

[audit]
sinks = ["auditfile"]

[audit.auditfile]
path = "audit.jsonl"
sync = "never"
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tsa-proxy-") as name:
        path = Path(name)
        # Proxies that are started by root give their rights away, and must still find their files.
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="module")
def tls(folder: Path) -> Tls:
    return make_tls(folder)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    config = folder / "tsa.toml"
    config.write_text(CONFIG)
    with ServerProcess(config) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A proxy that runs in front of the server."""

    name: str
    port: int
    log: Path
    context: ssl.SSLContext
    server: ServerProcess
    audit: Path

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, source: str = NEIGHBOUR, **headers: str
    ) -> HttpReply:
        """Send a request from an address of this machine."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=SECONDS, context=self.context, source_address=(source, 0)
        )
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {**QUERY, **names} if body is not None else names)
            response = connection.getresponse()
            return HttpReply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def stamp(self, *, source: str = NEIGHBOUR, **headers: str) -> HttpReply:
        """Ask for a timestamp."""
        return self.ask("POST", "/api/v1/timestamp", encode_request(), source=source, **headers)


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request: pytest.FixtureRequest, folder: Path, tls: Tls, server: ServerProcess) -> Iterator[Proxy]:
    command, port = PROXIES[request.param](folder, tls, server.port)
    log = folder / f"{request.param}.log"
    context = ssl.create_default_context(cafile=str(tls.certificate))
    with running(command, port=port, log=log):
        found = Proxy(
            name=request.param, port=port, log=log, context=context, server=server, audit=folder / "audit.jsonl"
        )
        # HAProxy asks /readyz first.
        wait_until(lambda: found.ask("GET", "/ping").status == 200, seconds=SECONDS, what="the proxy finds the server")
        yield found


def header(reply: HttpReply, name: str) -> str:
    """HAProxy writes header names in lower case."""
    return {each.lower(): value for each, value in reply.headers.items()}[name.lower()]


def test_client_gets_a_token_over_tls(proxy: Proxy) -> None:
    reply = proxy.stamp()
    assert reply.status == 200
    assert header(reply, "Content-Type") == "application/timestamp-reply"
    assert GRANTED in reply.body[:16]


def test_client_address_reaches_the_server_and_cannot_be_made_up(proxy: Proxy) -> None:
    """The server serves the neighbour alone, and believes the proxy; the proxy believes nobody."""
    assert GRANTED in proxy.stamp(source=NEIGHBOUR).body[:16]
    for forged in ({}, {"X_Forwarded_For": NEIGHBOUR}, {"Forwarded": f"for={NEIGHBOUR}"}):
        refused = proxy.stamp(source="127.0.0.1", **forged)
        assert refused.status == 200
        assert BAD_REQUEST in refused.body


def test_one_request_id_leads_through_all_logs(proxy: Proxy) -> None:
    reply = proxy.stamp(X_Request_Id="of the client")
    given = header(reply, "X-Request-Id")
    assert re.fullmatch(r"[0-9a-f-]{32,36}", given)
    last = [json.loads(line) for line in proxy.audit.read_text().splitlines()][-1]
    assert last["request_id"] == given


READYZ = [
    *("/readyz", "/readyz/", "//readyz", "///readyz", "/readyz//", "/readyz?x=1", "/readyz/?x=1", "/readyz#x"),
    *("/%72eadyz", "/%2freadyz", "/%2Freadyz", "/readyz%2f", "/readyz%2F", "/%2f/readyz", "/readyz%3f", "/readyz%23"),
    *("/./readyz", "/ping/../readyz", "/%2e/readyz", "/x/%2e%2e/readyz", "/readyz/.", "/readyz/x/..", "/readyz;a=b"),
    *("/readyz/../ping", "/tsa/../readyz", "/tsa/default/../../readyz", "/ping?/../readyz", "/ping%3f/../readyz"),
    *(f"https://{HOST}/readyz", f"https://{HOST}//readyz", f"https://{HOST}/readyz/", "https:///readyz", "/\treadyz"),
]


@pytest.mark.parametrize("path", dict.fromkeys([*READYZ, *(path.replace("readyz", "healthz") for path in READYZ), "*"]))
def test_what_is_for_operators_stays_inside_however_it_is_spelled(proxy: Proxy, path: str) -> None:
    """As it is sent, which no HTTP client of Python would do."""
    with (
        socket.create_connection(("127.0.0.1", proxy.port), SECONDS, source_address=(NEIGHBOUR, 0)) as plain,
        proxy.context.wrap_socket(plain, server_hostname=HOST) as encrypted,
    ):
        encrypted.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        reply = b"".join(iter(lambda: encrypted.recv(65536), b""))
    assert re.match(rb"HTTP/1\.[01] (400|404) ", reply) or reply.endswith(b"\r\n\r\n."), reply
    assert b'"ready"' not in reply
    assert b'"status"' not in reply


def test_what_is_for_clients_gets_through(proxy: Proxy) -> None:
    assert proxy.ask("GET", "/api/v1/timestamp/certchain").body.count(b"BEGIN CERTIFICATE") == 3
    assert proxy.ask("GET", "/tsa/default/certchain?all=true").body.count(b"BEGIN CERTIFICATE") == 3
    for path in ("/", "/?x", "/docs", "/docs/", "/openapi.json", "/swagger.json", "/ping", "/ping?x"):
        assert proxy.ask("GET", path).status == 200, path
    for path in ("/api/v1/timestamp", "/api/v1/timestamp/", "/tsa/default"):
        assert GRANTED in proxy.ask("POST", path, encode_request(), source=NEIGHBOUR).body[:16], path


def test_large_bodies_do_not_reach_the_server(proxy: Proxy) -> None:
    """The length alone is enough: nobody waits for the body."""
    connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, timeout=SECONDS, context=proxy.context)
    try:
        connection.putrequest("POST", "/api/v1/timestamp")
        connection.putheader("Content-Type", "application/timestamp-query")
        connection.putheader("Content-Length", "100000")
        connection.endheaders()
        assert connection.getresponse().status == 413
    finally:
        connection.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_versions_that_are_good_are_spoken(proxy: Proxy, tls: Tls, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(tls.certificate))
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", proxy.port), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as encrypted,
    ):
        assert (encrypted.version() or "").startswith("TLSv1.")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_versions_that_are_old_are_not(proxy: Proxy, tls: Tls) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(tls.certificate))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", proxy.port), SECONDS) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version"),
    ):
        context.wrap_socket(plain, server_hostname=HOST)


def test_one_address_cannot_take_everything(proxy: Proxy) -> None:
    """From an address that no other test uses; the limit is per address, so the neighbour is still served."""

    def flood(_: int) -> list[int]:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", proxy.port, timeout=SECONDS, context=proxy.context, source_address=("127.0.0.3", 0)
        )
        statuses = []
        for _ in range(150):
            connection.request("GET", "/ping")
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()
        return statuses

    statuses = [status for part in on_threads(flood, range(8)) for status in part]
    assert set(statuses) == {200, 429}
    assert GRANTED in proxy.stamp().body[:16]


@pytest.mark.parametrize("name", PROXIES)
def test_server_that_is_gone_is_a_bad_gateway(name: str, folder: Path, tls: Tls) -> None:
    command, port = PROXIES[name](folder, tls, free_port())
    context = ssl.create_default_context(cafile=str(tls.certificate))
    with running(command, port=port, log=folder / f"{name}-alone.log"):
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=context)
        try:
            connection.request("GET", "/ping")
            assert connection.getresponse().status in {502, 503}
        finally:
            connection.close()


@pytest.mark.plugin("ntp")
def test_haproxy_takes_a_server_out_that_is_not_ready(folder: Path, tls: Tls) -> None:
    """A server whose clock cannot be trusted still answers, with refusals; the health check sees more."""
    config = folder / "unready.toml"
    config.write_text(
        '[profiles.default]\nsigner = "memory:"\n[clock]\nmonitors = ["ntp"]\n'
        f'[clock.ntp]\nservers = ["127.0.0.1:{free_port()}"]\nnum_servers = 1\nserver_threshold = 1\n'
    )
    with ServerProcess(config) as server:
        assert server.get("/readyz").status == 503
        command, port = haproxy(folder, tls, server.port)
        log = folder / "haproxy-unready.log"
        context = ssl.create_default_context(cafile=str(tls.certificate))
        with running(command, port=port, log=log):

            def answer() -> int:
                connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=context)
                try:
                    connection.request("GET", "/ping")
                    return connection.getresponse().status
                finally:
                    connection.close()

            wait_until(lambda: answer() == 503, seconds=SECONDS, what="HAProxy has taken the server out")
        assert "Layer7 wrong status, code: 503" in log.read_text()
