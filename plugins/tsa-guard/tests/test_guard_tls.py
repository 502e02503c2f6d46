"""Client certificates from the server's own TLS: the guard learns whose they are, and who stalls is shut out."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tsa_core.testing import ServerProcess, encode_request, wait_until

from .test_guard_client_certificates import CA, KEY, issue, revocation_list

pytestmark = pytest.mark.plugin("memory")

BODY = encode_request(b"over TLS")
GRANTED = bytes.fromhex("3003020100")
MACHINE = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:machine:7")])
HERE = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])


def post(body: bytes = BODY) -> bytes:
    head = "POST /api/v1/timestamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/timestamp-query\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Served:
    """A server that does TLS itself, and whose guard knows clients by their certificates alone."""

    process: ServerProcess
    folder: Path

    def connect(self, client: str | None) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if client is not None:
            context.load_cert_chain(self.folder / f"{client}.pem", self.folder / "key.pem")
        return context.wrap_socket(
            socket.create_connection(self.process.address("https"), timeout=60), server_hostname="127.0.0.1"
        )

    def write(self, name: str, certificate: x509.Certificate) -> None:
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


def replies(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Return the statuses and bodies of so many replies."""
    found: list[tuple[int, bytes]] = []
    with connection.makefile("rb") as stream:
        for _ in range(count):
            status = int(stream.readline().split()[1])
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if match := re.match(rb"(?i)content-length: (\d+)", line):
                    length = int(match[1])
            found.append((status, stream.read(length)))
    return found


def stamp(served: Served) -> None:
    """Send a request without a client certificate, and read the reply."""
    with served.connect(None) as connection:
        connection.sendall(post())
        replies(connection, 1)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("mutual")
    config = folder / "tsa.toml"
    here = Served(process=ServerProcess(config), folder=folder)
    (folder / "key.pem").write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "key.pem").chmod(0o600)
    here.write("ca", CA)
    here.write("server", issue("CN=server", usage=ExtendedKeyUsageOID.SERVER_AUTH, names=HERE))
    here.write("machine", issue("CN=seven,O=acme", names=MACHINE))
    here.write("nameless", issue("CN=eight,O=acme"))
    here.write("revoked", issue("CN=nine,O=acme", names=MACHINE, serial=99))
    (folder / "clients.crl").write_bytes(revocation_list(99))
    config.write_text(
        """
        [server]
        schemes = ["https", "http"]
        tls_port = 0
        tls_certificate = "server.pem"
        tls_key = "key.pem"
        tls_ca = "ca.pem"
        read_timeout = "3s"
        http_ping_only = true
        [metrics]
        enabled = false
        [profiles.default]
        signer = "memory:"
        [middleware]
        guards = ["guard"]
        [middleware.guard.client_certificates]
        ca = "ca.pem"
        crls = ["clients.crl"]
        name_from = "uri"
        tenant_from = "O"
        [middleware.guard.tenants.acme]
        """
    )
    with here.process:
        yield here


def test_the_guard_learns_whose_certificate_it_is(served: Served) -> None:
    with served.connect("machine") as connection:
        assert connection.selected_alpn_protocol() is None
        connection.sendall(post())
        ((status, body),) = replies(connection, 1)
        assert status == 200
        assert GRANTED in body[:16]
    wait_until(lambda: "urn:machine:7" in served.process.log, seconds=60, what="the log names the client")


@pytest.mark.parametrize(("client", "said"), [("nameless", b"no subject alternative name"), ("revoked", b"is revoked")])
def test_a_certificate_that_does_not_count(client: str, said: bytes, served: Served) -> None:
    with served.connect(client) as connection:
        connection.sendall(post())
        ((status, body),) = replies(connection, 1)
        assert (status, said in body) == (401, True)


def test_a_refusal_comes_before_the_body_and_is_read_whole(served: Served) -> None:
    whole = post(bytes(60_000))
    with served.connect("revoked") as connection:
        connection.sendall(whole[:500])
        ((status, body),) = replies(connection, 1)
        assert (status, b"is revoked" in body) == (401, True)
        connection.sendall(whole[500:])  # no reset has destroyed the connection


def test_nobody_gets_beyond_the_handshake_without_a_certificate(served: Served) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):  # with TLS 1.3 the client notices after its handshake
        stamp(served)


def test_requests_of_many_records_and_several_in_one(served: Served) -> None:
    with served.connect("machine") as connection:
        connection.sendall(post(bytes(60_000)) + post() * 40 + post(bytes(20_000)))
        found = replies(connection, 42)
    assert [status for status, _ in found] == [200] * 42
    assert [GRANTED in body[:16] for _, body in found] == [False, *[True] * 40, False]


def test_a_handshake_that_stalls_ends_and_others_are_served_meanwhile(served: Served) -> None:
    with (
        socket.create_connection(served.process.address("https"), timeout=60) as silent,
        socket.create_connection(served.process.address("https"), timeout=60) as begun,
        socket.create_connection(served.process.address("https"), timeout=60) as noise,
        socket.create_connection(served.process.address("http"), timeout=60) as plain,
    ):
        begun.sendall(b"\x16\x03\x01\x02")
        noise.sendall(b"GET / HTTP/1.1\r\n\r\n")
        plain.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert replies(plain, 1)[0][0] == 200
        with served.connect("machine") as connection:
            connection.sendall(post())
            assert replies(connection, 1)[0][0] == 200
        for each in (silent, begun, noise):
            with suppress(ConnectionError):
                while each.recv(4096):
                    pass  # an alert


def test_a_handshake_that_stalls_ends_with_the_idle_timeout_too(served: Served) -> None:
    config = served.folder / "idle.toml"
    text = (served.folder / "tsa.toml").read_text()
    config.write_text(text.replace('read_timeout = "3s"', 'read_timeout = "0s"\nidle_timeout = "1s"'))
    with (
        ServerProcess(config) as process,
        socket.create_connection(process.address("https"), timeout=60) as silent,
    ):
        assert silent.recv(1) == b""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_session_that_is_resumed_is_as_revoked_as_its_certificate(version: ssl.TLSVersion, served: Served) -> None:
    context = ssl.create_default_context(cafile=str(served.folder / "ca.pem"))
    context.maximum_version = version
    context.load_cert_chain(served.folder / "revoked.pem", served.folder / "key.pem")

    def connect(session: ssl.SSLSession | None) -> ssl.SSLSocket:
        plain = socket.create_connection(served.process.address("https"), timeout=60)
        return context.wrap_socket(plain, server_hostname="127.0.0.1", session=session)

    with connect(None) as first, connect(first.session) as again:
        for each in (first, again):
            each.sendall(post())
            assert replies(each, 1)[0][0] == 401
        assert again.session_reused == (version is ssl.TLSVersion.TLSv1_2)


def test_a_reload_changes_the_servers_certificate(served: Served) -> None:
    new = issue("CN=server", usage=ExtendedKeyUsageOID.SERVER_AUTH, names=HERE, serial=1234)
    served.write("server", new)
    with served.connect("machine") as kept:
        os.kill(served.process.process.pid, signal.SIGHUP)

        def changed() -> bool:
            with served.connect("machine") as connection:
                return connection.getpeercert(binary_form=True) == new.public_bytes(Encoding.DER)

        wait_until(changed, seconds=60, what="new connections get the new certificate")
        kept.sendall(post())
        assert replies(kept, 1)[0][0] == 200
