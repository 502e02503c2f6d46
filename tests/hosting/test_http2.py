"""HTTP/2 beside HTTP/1.1: over TLS by ALPN, without TLS by prior knowledge; off unless it is wanted."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.http2_client import PATH, Http2Connection, StreamEnded, over_tls
from tests.serving import QUERY, REPLY, HttpReply
from tests.tls_material import TlsMaterial
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.testing import ServerProcess
from tsa_core.testing.programs import missing, require_program
from tsa_core.testing.waiting import wait_until
from tsa_core.verify import TrustStore, VerifiedTimestamp, Verifier

pytestmark = [pytest.mark.plugin("memory"), pytest.mark.package("h2")]

STREAMS = 100


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsMaterial:
    return TlsMaterial(tmp_path_factory.mktemp("tls"))


def https_flags(tls: TlsMaterial, *more: str) -> list[str]:
    certificate, key = tls.write("server")
    return [
        *("--port", "0", "--tls-port", "0", "--scheme", "https", "--http2"),
        *("--tls-certificate", str(certificate), "--tls-key", str(key), *more),
    ]


def query(nonce: int) -> bytes:
    return encode_request(algorithm=SHA256, digest=bytes(32), nonce=nonce, cert_req=True)


@dataclass(frozen=True)
class Target:
    """A server that speaks HTTP/2, over TLS or without."""

    server: ServerProcess
    scheme: str
    tls: TlsMaterial

    def connect(self) -> Http2Connection:
        address = self.server.address(self.scheme)
        if self.scheme == "http":
            return Http2Connection(socket.create_connection(address, timeout=30))
        connected = over_tls(address, self.tls)
        assert connected.selected_alpn_protocol() == "h2"
        return Http2Connection(connected, scheme="https")

    def http1(self) -> http.client.HTTPConnection:
        address = self.server.address(self.scheme)
        if self.scheme == "http":
            return http.client.HTTPConnection(*address, timeout=30)
        return http.client.HTTPSConnection(*address, timeout=30, context=self.tls.client_context())

    def verifier(self) -> Verifier:
        with self.connect() as connection:
            chain = connection.request("GET", f"{PATH}/certchain")
        assert chain.status == 200
        return Verifier(TrustStore.from_chain(chain.body))


KINDS = {
    "tls": ("https", []),
    "tls-2-workers": ("https", ["--workers", "2"]),
    "plain-granian": ("http", ["--scheme", "http", "--server", "granian", "--http2"]),
}


@pytest.fixture(scope="module", params=list(KINDS))
def target(request: pytest.FixtureRequest, tls: TlsMaterial) -> Iterator[Target]:
    scheme, flags = KINDS[request.param]
    limits = ["--max-request-body-size", "2000", "--max-header-size", "10000"]
    flags = [*(https_flags(tls, *flags) if scheme == "https" else ["--port", "0", *flags]), *limits]
    with ServerProcess(None, *flags) as server:
        yield Target(server, scheme, tls)


def verified(verifier: Verifier, reply: HttpReply, request: bytes) -> VerifiedTimestamp:
    assert (reply.status, reply.headers["content-type"]) == (200, REPLY)
    assert reply.headers["content-length"] == str(len(reply.body))
    return verifier.verify_response(reply.body, request=request)


def test_a_hundred_streams_on_one_connection(target: Target) -> None:
    requests = {nonce: query(nonce) for nonce in range(1, STREAMS + 1)}
    verifier = target.verifier()
    with target.connect() as connection:
        streams = {nonce: connection.begin(body=body, flush=False) for nonce, body in requests.items()}
        connection.flush()
        tokens = [verified(verifier, connection.reply(streams[nonce]), requests[nonce]) for nonce in streams]
    assert [token.tst_info.nonce for token in tokens] == list(requests)
    assert len({token.tst_info.serial_number for token in tokens}) == STREAMS


def test_http_1_1_goes_on_at_the_same_port(target: Target) -> None:
    connection = target.http1()
    connection.request("POST", PATH, query(7), {"Content-Type": QUERY})
    response = connection.getresponse()
    assert (response.status, response.version) == (200, 11)
    assert target.verifier().verify_response(response.read(), request=query(7)).tst_info.nonce == 7
    connection.close()
    if target.scheme == "https":
        with over_tls(target.server.address("https"), tls=target.tls, protocols=["http/1.1"]) as connected:
            assert connected.selected_alpn_protocol() == "http/1.1"


def test_too_large_a_body_is_413_and_the_connection_goes_on(target: Target) -> None:
    with target.connect() as connection:
        announced = connection.begin(body=bytes(100_000))
        unannounced = connection.begin(body=bytes(2_500), end=False)
        connection.send(unannounced, bytes(10), end=True)
        connection.flush()
        assert [reply.status for reply in connection.replies([announced, unannounced])] == [413, 413]
        whole = connection.begin(body=query(1), end=False)
        connection.protocol.end_stream(whole)
        connection.flush()
        assert connection.reply(whole).body[:1] == b"\x30", "a length need not be announced"


def test_too_large_a_head_is_refused_and_the_connection_goes_on(target: Target) -> None:
    with target.connect() as connection:
        assert connection.request("GET", "/ping", headers={"x-long": "x" * 8_000}).status == 200
        too_long = connection.begin("GET", "/ping", headers={f"x-{number}": "x" * 1_000 for number in range(11)})
        try:
            assert connection.reply(too_long).status == 431
        except StreamEnded:
            pytest.fail("a stream with too large a head is answered")
        assert connection.request("GET", "/ping").body == b"."


def test_each_stream_has_its_request_id(target: Target) -> None:
    with target.connect() as connection:
        given = {
            f"id-{number}": connection.begin(
                body=query(1), headers={"Content-Type": QUERY, "X-Request-Id": f"id-{number}"}
            )
            for number in range(10)
        }
        for name, number in given.items():
            assert connection.reply(number).headers["x-request-id"] == name
        made = {reply.headers["x-request-id"] for reply in connection.replies([connection.begin(body=query(1))] * 1)}
        assert not made & set(given)


def test_pages_show_the_authority_that_was_asked(target: Target) -> None:
    with target.connect() as connection:
        connection.authority = "stamps.example:8443"
        page = connection.request("GET", "/")
    assert page.status == 200
    assert b"stamps.example:8443" in page.body


# -- curl, the client that everybody has ------------------------------------------------------------------------


def curl(url: str, *flags: str) -> tuple[str, str]:
    """Ask for a timestamp; return the version of HTTP and the status."""
    result = subprocess.run(
        [
            *(
                require_program("curl"),
                "-sS",
                "--max-time",
                "20",
                "-o",
                os.devnull,
                "-w",
                "%{http_version} %{http_code}",
            ),
            *("-H", f"Content-Type: {QUERY}", "--data-binary", "@-", *flags, f"{url}{PATH}"),
        ],
        input=query(1),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    version, status = result.stdout.decode().split()
    return version, status


def test_curl_chooses(target: Target) -> None:
    host, port = target.server.address(target.scheme)
    url = f"{target.scheme}://{host}:{port}"
    trust = ["--cacert", str(target.tls.ca)] if target.scheme == "https" else []
    assert curl(url, "--http1.1", *trust) == ("1.1", "200")
    assert curl(url, "--http2-prior-knowledge", *trust) == ("2", "200")
    # Without TLS it asks for an upgrade, which RFC 9113 has taken back; the reply is one of HTTP/1.1.
    assert curl(url, "--http2", *trust) == ("2" if trust else "1.1", "200")


def test_a_unix_socket_speaks_it_with_granian(tmp_path: Path) -> None:
    path = tmp_path / "tsa.sock"
    with ServerProcess(None, "--scheme", "unix", "--socket-path", str(path), "--server", "granian", "--http2"):
        for flag, version in (("--http2-prior-knowledge", "2"), ("--http1.1", "1.1")):
            assert curl("http://localhost", flag, "--unix-socket", str(path)) == (version, "200")


def test_client_certificates_are_demanded_as_before(tls: TlsMaterial, tmp_path: Path) -> None:
    stranger = TlsMaterial(tmp_path, "Other CA").write("stranger")
    with ServerProcess(None, *https_flags(tls, "--tls-ca", str(tls.ca)), wait_for="listening on https") as server:
        with Http2Connection(over_tls(server.address("https"), tls, tls.write("client"))) as connection:
            assert connection.request(body=query(1)).status == 200
        for certificate in (None, stranger):
            # With TLS 1.3 the client learns of its refusal at its first read.
            with (
                pytest.raises((ssl.SSLError, ConnectionError, StreamEnded)),
                Http2Connection(over_tls(server.address("https"), tls, certificate)) as connection,
            ):
                connection.request(body=query(1))


def test_the_scheme_that_a_client_names_opens_nothing(tls: TlsMaterial) -> None:
    """`http_ping_only` goes by how a request came, and HTTP/2 lets clients say `:scheme https` without TLS."""
    flags = https_flags(tls, "--scheme", "http", "--server", "granian", "--http-ping-only")
    with ServerProcess(None, *flags, wait_for="listening on https") as server:
        plain = socket.create_connection(server.address("http"), timeout=30)
        with Http2Connection(plain, scheme="https") as connection:
            assert connection.request(body=query(1)).status == 404
            assert connection.request("GET", "/ping").body == b"."
        with Http2Connection(over_tls(server.address("https"), tls), scheme="http") as connection:
            assert connection.request(body=query(1)).status == 200


def test_it_is_on_over_tls_unless_told_otherwise(tls: TlsMaterial) -> None:
    flags = [flag for flag in https_flags(tls, "--scheme", "http", "--server", "granian") if flag != "--http2"]
    with ServerProcess(None, *flags, wait_for="listening on https") as server:
        with over_tls(server.address("https"), tls) as connected:
            assert connected.selected_alpn_protocol() == "h2"
        with socket.create_connection(server.address("http"), timeout=30) as connected:
            connected.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
            assert b"\x00\x04\x00" not in connected.recv(1000), "no SETTINGS of a server"


def test_it_can_be_turned_off(tls: TlsMaterial) -> None:
    flags = ["--http2=false" if flag == "--http2" else flag for flag in https_flags(tls)]
    with ServerProcess(None, *flags, wait_for="listening on https") as server:
        with over_tls(server.address("https"), tls) as connected:
            assert connected.selected_alpn_protocol() == "http/1.1"
        with over_tls(server.address("https"), tls) as connected:
            connected.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
            assert b"\x00\x04\x00" not in connected.recv(1000), "no SETTINGS of a server"


# -- time -------------------------------------------------------------------------------------------------------


def test_a_body_that_never_comes_ends_its_stream_alone(tls: TlsMaterial) -> None:
    with (
        ServerProcess(None, *https_flags(tls, "--read-timeout", "1s"), wait_for="listening on https") as server,
        Http2Connection(over_tls(server.address("https"), tls)) as connection,
    ):
        late = [connection.begin(body=query(1)[:5], end=False) for _ in range(20)]
        assert connection.request(body=query(2)).status == 200, "others do not wait for it"
        assert {reply.status for reply in connection.replies(late)} == {408}
        assert connection.request(body=query(3)).status == 200
        assert connection.goaway is None


def test_who_says_nothing_more_is_closed(tls: TlsMaterial) -> None:
    """granian has no time limit for a connection that speaks HTTP/2, nor for one that has not said what it speaks."""
    if not sys.platform.startswith("linux"):
        missing("only Linux tells how long a connection has been silent")
    flags = https_flags(tls, "--read-timeout", "1s", "--cleanup-timeout", "1s")
    with ServerProcess(None, *flags, wait_for="listening on https") as server:
        address = server.address("https")
        with Http2Connection(over_tls(address, tls)) as idle, over_tls(address, tls) as undecided:
            assert idle.request(body=query(1)).status == 200
            undecided.sendall(b"PRI * HTTP/2")
            while not idle.closed:
                idle.receive()
            with suppress(ConnectionError):
                assert undecided.recv(1) == b""


@contextmanager
def stopping(server: ServerProcess, connection: Http2Connection) -> Iterator[None]:
    """Tell the server to stop; the block begins when the client has been told, too."""
    server.process.terminate()
    while connection.goaway is None and not connection.closed:
        connection.receive()
    yield
    assert server.process.wait(60) == 0


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_open_streams_are_answered_before_the_end(tls: TlsMaterial, more: tuple[str, ...]) -> None:
    """Their bodies arrive after SIGTERM."""
    with (
        ServerProcess(None, *https_flags(tls, *more), wait_for="listening on https") as server,
        Http2Connection(over_tls(server.address("https"), tls)) as connection,
    ):
        streams = [connection.begin(body=query(number)[:5], end=False) for number in range(1, 21)]
        assert connection.request("GET", "/ping").status == 200, "all that was sent before it has arrived"
        with stopping(server, connection):
            assert not connection.closed, "the connection is open as long as streams are"
            for number, stream in enumerate(streams, 1):
                connection.send(stream, query(number)[5:], end=True)
            connection.flush()
            assert {reply.status for reply in connection.replies(streams)} == {200}


def test_a_reload_tells_connections_to_go_and_answers_their_streams(tls: TlsMaterial) -> None:
    with (
        ServerProcess(None, *https_flags(tls), wait_for="listening on https") as server,
        Http2Connection(over_tls(server.address("https"), tls)) as connection,
    ):
        stream = connection.begin(body=query(1)[:5], end=False)
        server.process.send_signal(1)
        while connection.goaway is None and not connection.closed:
            connection.receive()
        connection.send(stream, query(1)[5:], end=True)
        connection.flush()
        assert connection.reply(stream).status == 200

        def served() -> bool:
            with Http2Connection(over_tls(server.address("https"), tls)) as new:
                return new.request(body=query(2)).status == 200

        wait_until(served, seconds=30, what="new connections are served")


# -- what operators are told ------------------------------------------------------------------------------------


def test_waitress_without_tls_cannot_and_says_so() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}
    result = subprocess.run(
        [sys.executable, "-m", "tsa_core.cli.server", "serve", "--port", "0", "--http2"],
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    (line,) = (line for line in result.stderr.splitlines() if ": error: " in line)
    assert "waitress speaks HTTP/1.1 only" in line
    assert "--scheme https" in line
    assert "--server granian" in line
