"""http, https and unix at once; TLS and client certificates; what is wrong with listeners is one line."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.http2_client import over_tls
from tests.http_replies import turned_away
from tests.tls_material import TlsMaterial
from tsa_backends.commands import run_command
from tsa_core.config import ServerSettings
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.testing import ServerProcess, missing, require_program
from tsa_core.testing.waiting import wait_until

pytestmark = pytest.mark.plugin("memory")

REQUEST = encode_request(algorithm=SHA256, digest=bytes(32), nonce=1, cert_req=True)
HEADERS = {"Content-Type": "application/timestamp-query"}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsMaterial:
    return TlsMaterial(tmp_path_factory.mktemp("tls"))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


def exchange(
    connection: http.client.HTTPConnection, method: str = "POST", path: str = "/api/v1/timestamp"
) -> tuple[int, Mapping[str, str], bytes]:
    try:
        connection.request(method, path, REQUEST if method == "POST" else None, HEADERS if method == "POST" else {})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def https(server: ServerProcess, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(*server.address("https"), timeout=30, context=context)


def flags(tls: TlsMaterial, *more: str) -> list[str]:
    certificate, key = tls.write("server")
    return [
        *("--port", "0", "--tls-port", "0", "--scheme", "https"),
        *("--tls-certificate", str(certificate), "--tls-key", str(key), *more),
    ]


@pytest.fixture(
    scope="module",
    params=[("--server", "waitress"), ("--server", "waitress", "--workers", "2"), ("--server", "granian")],
    ids=["waitress", "waitress-2-workers", "granian"],
)
def everywhere(
    request: pytest.FixtureRequest, tls: TlsMaterial, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, Path]]:
    """A server on all three kinds of listeners."""
    path = tmp_path_factory.mktemp("unix") / "tsa.sock"
    arguments = flags(tls, "--scheme", "http,unix", "--socket-path", str(path), *request.param)
    with ServerProcess(None, *arguments, wait_for="listening on https") as server:
        yield server, path
    assert not path.exists(), "the Unix socket is removed at the end"


def test_all_listeners_sign_under_one_chain(everywhere: tuple[ServerProcess, Path], tls: TlsMaterial) -> None:
    server, path = everywhere
    context = tls.client_context()
    chains = set()
    connections: tuple[Callable[[], http.client.HTTPConnection], ...] = (
        lambda: http.client.HTTPConnection(*server.address("http"), timeout=30),
        lambda: https(server, context),
        lambda: _UnixConnection(path),
    )
    for connection in connections:
        status, headers, body = exchange(connection())
        assert (status, headers["content-type"]) == (200, "application/timestamp-reply")
        assert headers["content-length"] == str(len(body))
        assert "transfer-encoding" not in headers
        assert "no-store" in headers["cache-control"]
        chains.add(exchange(connection(), "GET", "/api/v1/timestamp/certchain")[2])
    assert len(chains) == 1


def test_the_unix_socket_has_the_mode_of_the_setting(everywhere: tuple[ServerProcess, Path]) -> None:
    _, path = everywhere
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_clients_of_the_unix_socket_are_called_unix(everywhere: tuple[ServerProcess, Path]) -> None:
    """Not localhost, which a rule by network could take for somebody."""
    server, path = everywhere
    assert exchange(_UnixConnection(path))[0] == 200
    server.wait_for_log("POST /api/v1/timestamp 200 .* client=unix ")


def test_tls_below_1_2_is_refused(everywhere: tuple[ServerProcess, Path], tls: TlsMaterial) -> None:
    server, _ = everywhere
    for version, accepted in ((ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)):
        context = tls.client_context()
        context.minimum_version = context.maximum_version = version
        assert (exchange(https(server, context), "GET", "/ping")[0] == 200) is accepted
    old = tls.client_context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        exchange(https(server, old), "GET", "/ping")


def test_plain_http_on_the_tls_port_harms_nobody(everywhere: tuple[ServerProcess, Path], tls: TlsMaterial) -> None:
    server, _ = everywhere
    with socket.create_connection(server.address("https"), timeout=30) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        data = connection.recv(100)
        assert not data.startswith(b"HTTP")
    assert exchange(https(server, tls.client_context()), "GET", "/ping")[2] == b"."


def test_without_tls_nothing_but_ping_is_answered_when_told_so(tls: TlsMaterial) -> None:
    with ServerProcess(
        None, *flags(tls, "--scheme", "http", "--http-ping-only"), wait_for="listening on https"
    ) as server:

        def plain() -> http.client.HTTPConnection:
            return http.client.HTTPConnection(*server.address("http"), timeout=30)

        assert exchange(plain(), "GET", "/ping")[2] == b"."
        assert exchange(plain(), "HEAD", "/ping/")[0] == 200
        for method, path in (("POST", "/api/v1/timestamp"), ("GET", "/"), ("GET", "/healthz"), ("GET", "/pingx")):
            status, headers, body = exchange(plain(), method, path)
            assert (status, body) == (404, b"http server supports only the /ping entrypoint")
            assert headers["content-type"] == "text/plain"
        assert exchange(plain(), "HEAD", "/")[::2] == (404, b"")
        wait_until(lambda: server.log.count(" 404 ") == 5, seconds=10, what="the log has those who were refused")
        assert exchange(https(server, tls.client_context()))[0] == 200


def test_a_client_must_show_a_certificate_of_the_ca(tls: TlsMaterial, tmp_path: Path) -> None:
    other = TlsMaterial(tmp_path, "Other CA")
    client, stranger = tls.write("client"), other.write("stranger")
    with ServerProcess(None, *flags(tls, "--tls-ca", str(tls.ca)), wait_for="listening on https") as server:
        assert exchange(https(server, tls.client_context(client)))[0] == 200
        for certificate in (None, stranger):
            # With TLS 1.3 the client learns of its refusal at its first read.
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
                exchange(https(server, tls.client_context(certificate)))
        assert exchange(https(server, tls.client_context(client)))[0] == 200


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_a_reload_takes_a_new_certificate_and_refuses_a_bad_one(tls: TlsMaterial, arguments: tuple[str, ...]) -> None:
    def serial() -> int:
        with (
            socket.create_connection(server.address("https"), timeout=30) as raw,
            tls.client_context().wrap_socket(raw, server_hostname="127.0.0.1") as connection,
        ):
            return int(str(dict(connection.getpeercert() or {})["serialNumber"]), 16)

    with ServerProcess(None, *flags(tls, *arguments), wait_for="listening on https") as server:
        first = serial()
        certificate, _ = tls.write("server")
        second = x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number
        assert second != first
        server.process.send_signal(1)

        def is_new() -> bool:
            # While granian changes over, it cuts handshakes, and who was listening before may still take some.
            try:
                return all(serial() == second for _ in range(4))
            except OSError:
                return False

        wait_until(is_new, seconds=60, what="the new certificate is shown")
        certificate.write_bytes(b"rubbish")
        server.process.send_signal(1)
        server.wait_for_log("reload refused, nothing has changed: .*holds no certificates in PEM")
        wait_until(is_new, seconds=60, what="the certificate before is still shown")


def test_a_request_in_flight_over_tls_is_answered_before_the_end(tls: TlsMaterial) -> None:
    """The body arrives after SIGTERM."""
    with ServerProcess(None, *flags(tls), wait_for="listening on https") as server:
        raw = socket.create_connection(server.address("https"), timeout=30)
        with tls.client_context().wrap_socket(raw, server_hostname="127.0.0.1") as connection:
            head = f"POST /api/v1/timestamp HTTP/1.1\r\nHost: x\r\nContent-Length: {len(REQUEST)}\r\n"
            head += "Content-Type: application/timestamp-query\r\nExpect: 100-continue\r\n"
            connection.sendall(f"{head}\r\n".encode() + REQUEST[:5])
            assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n", "the server has not read the head"
            server.process.terminate()

            wait_until(lambda: turned_away(server.address("https")), seconds=30, what="no new connection is served")
            connection.sendall(REQUEST[5:])
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status == 200
            assert response.read()[:1] == b"\x30"
        assert server.process.wait(60) == 0


# -- what is wrong is one line ----------------------------------------------------------------------------------


def complain(*arguments: str) -> str:
    result = run_command("serve", "--port", "0", *arguments)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if ": error: " in line]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_each_mistake_about_listeners_is_one_line(tls: TlsMaterial, tmp_path: Path) -> None:
    certificate, key = tls.write("server")
    other, _ = tls.write("other")
    expired, expired_key = tls.write("expired", days=-1)
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")

    def files(certificate: Path, key: Path) -> list[str]:
        return ["--scheme", "https", "--tls-port", "0", "--tls-certificate", str(certificate), "--tls-key", str(key)]

    for arguments, expected in (
        (["--scheme", "https"], "needs tls_certificate and tls_key"),
        (["--scheme", "unix"], "needs socket_path"),
        (["--scheme", "ftp"], "'http', 'https' or 'unix'"),
        (["--tls-ca", str(tls.ca)], "without the scheme https"),
        (["--http-ping-only"], "without the scheme https"),
        (files(tmp_path / "nope.pem", key), "cannot be read: No such file"),
        (files(rubbish, key), "holds no certificates in PEM"),
        (files(certificate, rubbish), "is not a private key in PEM"),
        (files(other, key), "is not the key of the first certificate"),
        (files(expired, expired_key), "clients would refuse it"),
        ([*files(certificate, key), "--tls-ca", str(rubbish)], "server.tls_ca"),
        (["--scheme", "unix", "--socket-path", str(rubbish)], "is no socket"),
        (["--scheme", "unix", "--socket-path", str(tmp_path / "no" / "tsa.sock")], "No such file or directory"),
    ):
        assert expected in complain(*arguments), arguments


UNUSABLE = {
    "P-521": (
        ["ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
        "server.tls_key: .* does not sign with; use ECDSA on P-256",
    ),
    "Ed448": (["ed448"], "server.tls_key: .* does not sign with; use ECDSA on P-256"),
    "RSA of 1024 bits": (["rsa", "-pkeyopt", "rsa_keygen_bits:1024"], "server.tls_key: .* does not sign with"),
    "RSASSA-PSS": (["rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"], "server.tls_certificate: .* in an uncommon form"),
    "a curve that is written out": (
        ["ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"],
        "server.tls_certificate: .* in an uncommon form",
    ),
    "a curve that is not known": (
        ["ec", "-pkeyopt", "ec_paramgen_curve:prime192v3"],
        "server.tls_certificate: .* of a kind that is not known",
    ),
}


def make_unusable(name: str, folder: Path) -> tuple[bytes, bytes]:
    """Return certificate and key of a kind that no TLS of the server's signs with, as OpenSSL makes them."""
    key, certificate = folder / "odd.key", folder / "odd.pem"
    for command in (
        ["genpkey", "-algorithm", *UNUSABLE[name][0], "-out", str(key)],
        ["req", "-x509", "-new", "-key", str(key), "-subj", "/CN=localhost", "-days", "2", "-out", str(certificate)],
    ):
        done = subprocess.run(["openssl", *command], capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"this OpenSSL makes no such certificate: {done.stderr}")
    return certificate.read_bytes(), key.read_bytes()


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_key_that_tls_does_not_sign_with_is_refused_before_it_is_used(name: str, tmp_path: Path) -> None:
    require_program("openssl")
    make_unusable(name, tmp_path)
    files = ["--tls-certificate", str(tmp_path / "odd.pem"), "--tls-key", str(tmp_path / "odd.key")]
    assert re.search(UNUSABLE[name][1], complain("--scheme", "https", "--tls-port", "0", *files))


def test_a_reload_refuses_a_key_that_would_end_the_process(tmp_path: Path) -> None:
    require_program("openssl")
    odd_certificate, odd_key = make_unusable("P-521", tmp_path)
    tls = TlsMaterial(tmp_path)
    with ServerProcess(None, *flags(tls), wait_for="listening on https") as server:
        certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
        certificate.write_bytes(odd_certificate)
        key.write_bytes(odd_key)
        server.process.send_signal(1)
        server.wait_for_log("reload refused, nothing has changed: .*does not sign with; use ECDSA")
        assert exchange(https(server, tls.client_context()), "GET", "/ping")[0] == 200


def test_tls_has_limits_of_its_own(tls: TlsMaterial) -> None:
    limits = ("--read-timeout", "10m", "--tls-read-timeout", "1s")
    head = b"POST /api/v1/timestamp HTTP/1.1\r\nHost: tsa\r\nContent-Type: application/timestamp-query\r\n"
    begun = head + f"Content-Length: {len(REQUEST)}\r\n\r\n".encode() + REQUEST[:5]
    with (
        ServerProcess(None, *flags(tls, "--scheme", "http", *limits)) as server,
        socket.create_connection(server.address("http"), timeout=60) as plain,
        over_tls(server.address("https"), tls, protocols=["http/1.1"]) as secure,
        over_tls(server.address("https"), tls, protocols=["http/1.1"]) as unfinished,
        socket.create_connection(server.address("https"), timeout=60) as shy,
    ):
        shy.sendall(b"\x16\x03\x01")  # and no more of its handshake
        plain.sendall(begun)
        secure.sendall(begun)
        unfinished.sendall(head)
        assert secure.recv(1000).startswith(b"HTTP/1.1 408 ")
        if Path("/proc/self/fd").is_dir():  # else a head has as long as a connection may be idle
            for each in (unfinished, shy):
                with contextlib.suppress(ssl.SSLError, ConnectionError):
                    assert each.recv(1000) == b""
        plain.sendall(REQUEST[5:])
        assert plain.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_limits_of_tls_are_those_without_unless_given(tls: TlsMaterial) -> None:
    certificate, key = tls.write("server")
    files = {"schemes": "http,https", "tls_certificate": certificate, "tls_key": key}
    shared = {"read_timeout": "1s", "write_timeout": "2s", "tcp_keep_alive": "3s", "connection_limit": 4}
    own = {"tls_read_timeout": "5s", "tls_write_timeout": "6s", "tls_keep_alive": "0", "tls_connection_limit": 0}
    followed = ServerSettings.model_validate({**files, **shared}).over_tls()
    assert [getattr(followed, name) for name in shared] == [*(timedelta(seconds=each) for each in (1, 2, 3)), 4]
    given = ServerSettings.model_validate({**files, **shared, **own})
    limits = given.over_tls()
    assert [getattr(limits, name) for name in shared] == [*(timedelta(seconds=each) for each in (5, 6, 0)), 0]
    assert given.read_timeout == timedelta(seconds=1)


def test_a_unix_socket_that_was_left_over_is_taken_and_a_living_one_is_not(tmp_path: Path) -> None:
    from tsa_core.api import ConfigError
    from tsa_core.hosting.sockets import open_listeners

    path = tmp_path / "tsa.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    settings = ServerSettings(schemes=["unix"], socket_path=path)
    listeners = open_listeners(settings)
    with pytest.raises(ConfigError, match="a server listens there already"):
        open_listeners(settings)
    listeners.close()
    assert not path.exists()


def test_connections_are_asked_whether_they_are_still_there() -> None:
    from tsa_core.hosting.sockets import open_listeners

    listeners = open_listeners(ServerSettings(port=0, tcp_keep_alive=timedelta(seconds=90)))
    (listening,) = listeners.plain
    with socket.create_connection(listening.getsockname(), timeout=30):
        listening.setblocking(True)
        accepted, _ = listening.accept()
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 90
        accepted.close()
    listeners.close()
