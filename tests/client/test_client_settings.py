"""What a client sends, with which credentials, how often; and that no secret shows."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from tests import pki
from tests.client.lying_server import CHUNKED, Certificates, Conversation, fields, reply, server
from tsa_core.client import (
    ClientError,
    ClientSettingError,
    ConnectionFailed,
    Deadline,
    RequestTimeout,
    TimestampClient,
    TransportError,
    UnexpectedAnswer,
    fetch,
    transport,
)
from tsa_core.client import connections as client_connections
from tsa_core.client.log_reader import LogReader, LogUnusable
from tsa_core.client.proxied import ProxiedConnections
from tsa_core.testing.http_tsa import Answer, HttpTsa

SECRET = "s3cret"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


# --- credentials ---


def test_user_and_password_are_percent_decoded(certificates: Certificates) -> None:
    with server(certificates) as served:
        url = served.url.replace("://", "://us%40er:p%3A%C3%A4%2F@")
        with TimestampClient(url) as client:
            client.stamp(artifact=b"hello")
            assert "us%40er" not in repr(client) + client.url
    assert fields(served.heads[0])["authorization"] == basic("us@er:p:ä/")


def test_a_token_file_is_read_for_each_request(certificates: Certificates, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    with server(certificates) as served, TimestampClient(served.url, token_file=token) as client:
        client.stamp(artifact=b"hello")
        token.write_text("second")
        client.stamp(artifact=b"hello")
    assert [fields(head)["authorization"] for head in served.heads] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("header", [False, True])
def test_a_bearer_token_does_not_leave_the_machine_over_plain_http(tmp_path: Path, header: bool) -> None:
    token = tmp_path / "token"
    token.write_text(SECRET)
    settings: dict[str, Any] = {"headers": {"authorization": f"bearer {SECRET}"}} if header else {"token_file": token}
    for url in ("http://tsa.example.org/", "http://192.0.2.1/", "http://[2001:db8::1]:8080/tsr", "http://notlocalhost"):
        with pytest.raises(ClientSettingError, match="over plain http") as caught:
            TimestampClient(url, **settings)
        assert SECRET not in str(caught.value)
        TimestampClient(url, **settings, token_over_http=True)
        TimestampClient(url.replace("http", "https"), **settings)
    for url in (
        "http://127.0.0.1:1/",
        "http://127.9.9.9/",
        "http://[::1]:1/",
        "http://localhost.:1",
        "http://a.localhost",
    ):
        TimestampClient(url, **settings)


def test_a_proxy_is_not_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(SECRET)
    monkeypatch.setenv("http_proxy", "http://proxy.example.org:3128")
    with pytest.raises(ClientSettingError, match="over plain http"):
        TimestampClient("http://127.0.0.1:1/", token_file=tmp_path / "token")
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    TimestampClient("http://127.0.0.1:1/", token_file=tmp_path / "token")


def test_headers_are_sent_and_nothing_is_to_be_encoded(certificates: Certificates) -> None:
    with server(certificates) as served, TimestampClient(served.url, headers={"X-Api-Key": SECRET}) as client:
        client.stamp(artifact=b"hello")
        assert SECRET not in repr(client)
    sent = fields(served.heads[0])
    assert sent["x-api-key"] == SECRET
    assert sent["accept-encoding"] == "identity"


def test_credentials_do_not_follow_a_redirect_to_another_server(certificates: Certificates, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(SECRET)
    with server(certificates) as other:

        def redirect(c: Conversation) -> None:
            c.answer("307 Temporary Redirect", Location=other.url.replace("://", "://eve:eve@"))

        with server(certificates, redirect) as first:
            named = first.url.replace("://", f"://user:{SECRET}@")
            for url, settings in ((first.url, {"token_file": token}), (named, {"headers": {"X-Key": SECRET}})):
                with TimestampClient(url, **settings) as client:
                    client.stamp(artifact=b"hello")
    assert all("authorization" in fields(head) for head in first.heads)
    assert len(other.heads) == 2
    for head in other.heads:
        assert SECRET.encode() not in head
        assert fields(head).keys().isdisjoint({"authorization", "x-key"})


@pytest.mark.parametrize(
    "settings",
    [
        {"headers": {"Host": "x"}},
        {"headers": {"content-length": "1"}},
        {"headers": {"X-Bad": f"{SECRET}\r\nHost: x"}},
        {"headers": {"X-Bad": f"{SECRET}\0"}},
        {"headers": {"X Bad": SECRET}},
        {"headers": {"X-Twice": SECRET, "x-twice": SECRET}},
        {"retries": -1},
        {"clock_window": timedelta(seconds=-1)},
        {"client_key": "key.pem"},
        {"ssl_context": ssl.create_default_context(), "ca": "ca.pem"},
        {"ca": "missing.pem"},
        {"client_certificate": "missing.pem"},
        {"token_file": "missing"},
        {"token_over_http": True},
    ],
)
def test_settings_that_cannot_be_used(settings: Any) -> None:
    with pytest.raises(ClientSettingError) as caught:
        TimestampClient("http://127.0.0.1:1/", **settings)
    assert SECRET not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"x" * 70_000, b"a\nb"])
def test_token_files_that_hold_no_token(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ClientSettingError, match="does not hold one bearer token"):
        TimestampClient("http://127.0.0.1:1/", token_file=tmp_path / "token")


def test_a_token_file_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(ClientSettingError, match=r"the token file .* cannot be read: it is no regular file"):
            TimestampClient("http://127.0.0.1:1/", token_file=path)


def test_two_kinds_of_authorization_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    for url, settings in (
        (f"http://user:{SECRET}@127.0.0.1:1/", {"token_file": tmp_path / "token"}),
        (f"http://user:{SECRET}@127.0.0.1:1/", {"headers": {"authorization": SECRET}}),
        ("http://127.0.0.1:1/", {"headers": {"authorization": SECRET}, "token_file": tmp_path / "token"}),
    ):
        arguments: dict[str, Any] = dict(settings)
        with pytest.raises(ClientSettingError, match="give one of them") as caught:
            TimestampClient(url, **arguments)
        assert SECRET not in str(caught.value)


def test_an_argument_that_does_not_exist() -> None:
    arguments: dict[str, Any] = {"tiemout": 3}
    with pytest.raises(TypeError, match="tiemout"):
        TimestampClient("http://127.0.0.1:1/", **arguments)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_times_that_are_no_timeout(timeout: float) -> None:
    with pytest.raises(ValueError, match="positive number of seconds"):
        TimestampClient("http://127.0.0.1:1/", timeout=timeout)


# --- TLS ---


def test_a_client_certificate_and_a_ca_file(certificates: Certificates, tmp_path: Path) -> None:
    certificate, key = certificates.client()
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    with server(certificates, tls="demanding") as served:
        for settings in ({"client_certificate": certificate, "client_key": key}, {"client_certificate": both}):
            arguments: dict[str, Any] = dict(settings)
            with TimestampClient(served.url, ca=certificates.ca, **arguments) as client:
                client.stamp(artifact=b"hello")


def test_a_client_certificate_is_not_shown_to_another_server(certificates: Certificates) -> None:
    certificate, key = certificates.client()
    with server(certificates, tls="demanding") as other:

        def redirect(c: Conversation) -> None:
            c.answer("307 Temporary Redirect", Location=other.url)

        with server(certificates, redirect, tls="demanding") as first:
            settings: Any = {"ca": certificates.ca, "client_certificate": certificate, "client_key": key}
            with TimestampClient(first.url, **settings) as client, pytest.raises(TransportError, match="client certi"):
                client.stamp(artifact=b"hello")


def test_client_certificates_that_cannot_be_used(certificates: Certificates, tmp_path: Path) -> None:
    certificate, key = certificates.client()
    other, encrypted = tmp_path / "other.key", tmp_path / "encrypted.key"
    for path, how in ((other, NoEncryption()), (encrypted, BestAvailableEncryption(b"password"))):
        path.write_bytes(pki.key("p256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    for wrong, said in (
        (other, "another certificate's"),
        (encrypted, "is encrypted"),
        (certificate, "PEM private key"),
    ):
        with pytest.raises(ClientSettingError, match=said):
            TimestampClient("https://127.0.0.1:1/", client_certificate=certificate, client_key=wrong)
    with pytest.raises(ClientSettingError, match="no PEM certificate"):
        TimestampClient("https://127.0.0.1:1/", ca=key)


# --- retries ---


class Sometimes:
    """Answers with each of the given answers in turn, and then as an honest authority does."""

    def __init__(self, *acts: Any) -> None:
        self._acts = iter(acts)

    def __call__(self, c: Conversation) -> None:
        next(self._acts, reply)(c)


def busy(seconds: str) -> Any:
    return lambda c: c.answer("503 Service Unavailable", b"busy", "text/plain", Retry_After=seconds)


def gone(c: Conversation) -> None:
    c.hear()


def test_retries_obey_retry_after(certificates: Certificates) -> None:
    twice = Sometimes(busy("0"), busy("0"))
    with server(certificates, twice) as served, TimestampClient(served.url, timeout=60, retries=2) as client:
        client.stamp(artifact=b"hello")
    assert len(served.heads) == 3


def test_a_log_that_is_wrong_is_named_without_credentials(certificates: Certificates) -> None:
    def nonsense(c: Conversation) -> None:
        c.answer("200 OK", b"no checkpoint")

    with server(certificates, nonsense) as served, Deadline(60) as deadline:
        url = served.url.replace("://", f"://user:{SECRET}@")
        with pytest.raises(LogUnusable, match="its checkpoint cannot be read") as caught:
            LogReader(f"{url}/", [], deadline=deadline).checkpoint()
    assert caught.value.url == served.url
    assert SECRET not in str(caught.value)
    assert b"Authorization" in served.heads[0]


def test_a_broken_connection_is_tried_again(certificates: Certificates) -> None:
    with server(certificates, Sometimes(gone)) as served:
        with TimestampClient(served.url, timeout=60, retries=1) as client:
            client.stamp(artifact=b"hello")
        with pytest.raises(ConnectionFailed), TimestampClient("http://127.0.0.1:1/", retries=0) as client:
            client.stamp(artifact=b"hello")


@pytest.mark.parametrize("library", ["http.client", "urllib3"])
def test_what_follows_a_broken_chunk_answers_no_other_request(
    library: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_again = []

    def broken(c: Conversation) -> None:
        c.hear()
        c.send(CHUNKED.replace(b"200 OK", b"503 Busy\r\nRetry-After: 0"), b"nonsense\r\n")
        asked_again.append(c._receive())
        c.answer("404 Not Found")

    if library == "urllib3":
        monkeypatch.setattr(transport, "DirectConnections", lambda context: ProxiedConnections(None, context, None))
    told = pytest.raises(UnexpectedAnswer, match="503")
    with server(certificates, broken) as served, TimestampClient(served.url, timeout=60, retries=1) as client, told:
        client.stamp(artifact=b"hello")
    assert len(served.heads) == 2
    assert asked_again == []


def test_a_wait_that_the_deadline_does_not_allow_is_not_begun(certificates: Certificates) -> None:
    told = pytest.raises(UnexpectedAnswer, match="Retry-After: 3600 seconds")
    with server(certificates, busy("3600")) as served, TimestampClient(served.url, retries=5) as client, told as caught:
        client.stamp(artifact=b"hello")
    assert (caught.value.status, caught.value.retry_after) == (503, 3600.0)
    assert len(served.heads) == 1


def test_without_retries_and_for_other_statuses_nothing_is_asked_twice(certificates: Certificates) -> None:
    def forbidden(c: Conversation) -> None:
        c.answer("403 Forbidden")

    for act, settings in ((busy("0"), {}), (forbidden, {"retries": 3})):
        arguments: dict[str, Any] = dict(settings)
        once = pytest.raises(UnexpectedAnswer)
        with server(certificates, act) as served, TimestampClient(served.url, **arguments) as client, once:
            client.stamp(artifact=b"hello")
        assert len(served.heads) == 1


# --- resolving ---


@pytest.fixture
def hanging_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """getaddrinfo that answers for no name until the test has ended; addresses are no names."""
    ended = threading.Event()
    real = socket.getaddrinfo

    def hang(host: bytes | str, *arguments: Any, **settings: Any) -> Any:
        if (host.decode() if isinstance(host, bytes) else host).endswith(".invalid"):
            ended.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return real(host, *arguments, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield
    ended.set()


@pytest.mark.usefixtures("hanging_resolver")
def test_v21_a_resolver_that_hangs_is_left_at_the_deadline() -> None:
    with TimestampClient("http://tsa.invalid/", timeout=0.2) as client, pytest.raises(RequestTimeout):
        client.stamp(artifact=b"hello")


@pytest.mark.usefixtures("hanging_resolver")
def test_v21_lookups_that_hang_are_bounded(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    lookups = threading.BoundedSemaphore(2)
    monkeypatch.setattr(client_connections, "_LOOKUPS", lookups)
    for _ in range(4):
        with TimestampClient("http://tsa.invalid/", timeout=0.1) as client, pytest.raises(RequestTimeout):
            client.stamp(artifact=b"hello")
    assert not lookups.acquire(blocking=False)
    with server(certificates) as served, TimestampClient(served.url) as client:
        client.stamp(artifact=b"hello")  # an address needs no lookup


# --- fetch ---


def test_fetch_is_bounded_and_says_what_came() -> None:
    with (
        HttpTsa(lambda body: Answer(body=b"crl" + body, headers={"Content-Type": "x/y"})) as tsa,
        Deadline(60) as deadline,
    ):
        assert fetch(tsa.url, deadline=deadline, max_octets=3) == b"crl"
        assert fetch(tsa.url, deadline=deadline, max_octets=9, body=b"ocsp", headers={"X-A": "b"}) == b"crlocsp"
        assert tsa.received[1].headers["X-A"] == "b"
        with pytest.raises(ClientError, match="more than 2 bytes"):
            fetch(tsa.url, deadline=deadline, max_octets=2)
        tsa.answer = lambda _: Answer(status=404, body=b"no such list")
        with pytest.raises(UnexpectedAnswer, match="404: no such list"):
            fetch(tsa.url, deadline=deadline, max_octets=2)
        tsa.answer = lambda _: Answer(status=302, headers={"Location": "/other"})
        with pytest.raises(TransportError, match="more than 3 redirects"):
            fetch(tsa.url, deadline=deadline, max_octets=2)
    for url in ("ftp://127.0.0.1/", "file:///etc/passwd", "http://[::1", "http://a b/", f"ldap://user:{SECRET}@x/"):
        with Deadline(60) as deadline, pytest.raises(TransportError, match="not an http") as caught:
            fetch(url, deadline=deadline, max_octets=2)
        assert SECRET not in str(caught.value)


def test_a_deadline_that_is_over_or_was_cancelled_begins_nothing() -> None:
    with HttpTsa(lambda _: Answer(body=b"x")) as tsa, Deadline(60) as deadline:
        deadline.cancel()
        with pytest.raises(RequestTimeout):
            fetch(tsa.url, deadline=deadline, max_octets=2)
        assert tsa.received == []
