"""Proxies: which one is used, with which credentials, and which hosts are excepted."""

from __future__ import annotations

import base64

import pytest

from tests.client.lying_server import Certificates, Conversation, fields, reply, server
from tsa_core.client import (
    TimestampClient,
    TransportError,
)
from tsa_core.client.proxies import bypassed, proxy_for

SECRET = "s3cret"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_a_proxy_for_http_gets_its_own_credentials(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(certificates) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.origin.replace("://", "://pro%40xy:p%3Aw@"))
        with TimestampClient("http://tsa.invalid/tsr", headers={"X-Key": SECRET}) as client:
            client.stamp(artifact=b"hello")
    assert proxy.heads[0].startswith(b"POST http://tsa.invalid/tsr HTTP/1.1\r\n")
    assert fields(proxy.heads[0])["proxy-authorization"] == basic("pro@xy:p:w")


def test_a_proxy_for_https_sees_its_credentials_and_no_others(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(c: Conversation) -> None:
        c.hear()
        heads.append(c.head)
        c.send(b"HTTP/1.1 200 OK\r\n\r\n")
        c.connection = certificates.context("good").wrap_socket(c.connection, server_side=True)
        c.head = b""
        reply(c)
        c.connection.close()

    heads: list[bytes] = []
    with server(certificates, connect) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.origin.replace("://", f"://user:{SECRET}@"))
        url = "https://127.0.0.1:9/tsr"
        with TimestampClient(url, ca=certificates.ca, headers={"X-Key": "for the server"}) as client:
            client.stamp(artifact=b"hello")
    assert heads[0].startswith(b"CONNECT 127.0.0.1:9 ")
    assert fields(heads[0])["proxy-authorization"] == basic(f"user:{SECRET}")
    assert b"for the server" not in heads[0]
    assert b"Proxy-Authorization" not in proxy.heads[0]
    assert fields(proxy.heads[0])["x-key"] == "for the server"


def test_a_proxy_that_cannot_be_used_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (f"socks5://user:{SECRET}@127.0.0.1:1", f"http://user:{SECRET}@[::1", f"http://user:{SECRET}@:80"):
        monkeypatch.setenv("http_proxy", value)
        with (
            TimestampClient("http://tsa.invalid/") as client,
            pytest.raises(TransportError, match="HTTP_PROXY") as caught,
        ):
            client.stamp(artifact=b"hello")
        assert SECRET not in str(caught.value)


def test_where_a_proxy_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for("http://tsa.example/") is None
    monkeypatch.setenv("all_proxy", "proxy.example")
    proxy = proxy_for("https://tsa.example/")
    assert proxy is not None
    assert proxy.url == "http://proxy.example:80"
    monkeypatch.setenv("https_proxy", "https://[::1]")
    proxy = proxy_for("https://tsa.example/")
    assert proxy is not None
    assert proxy.url == "https://[::1]:443"
    monkeypatch.setenv("no_proxy", "tsa.example:444")
    assert proxy_for("https://tsa.example:444/") is None
    assert proxy_for("https://tsa.example/") is not None


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "expected"),
    [
        ("*", "anything.example", 80, True),
        ("", "tsa.example", 80, False),
        ("tsa.example", "tsa.example", 80, True),
        ("tsa.example", "sub.tsa.example", 80, True),
        (".tsa.example", "sub.tsa.example", 80, True),
        (".tsa.example", "tsa.example", 80, True),
        ("*.tsa.example", "sub.tsa.example", 80, True),
        ("tsa.example", "mytsa.example", 80, False),
        ("TSA.Example", "tsa.example.", 80, True),
        ("a.example, tsa.example", "tsa.example", 80, True),
        ("a.example tsa.example", "tsa.example", 80, True),
        ("tsa.example:8080", "tsa.example", 8080, True),
        ("tsa.example:8080", "tsa.example", 80, False),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("10.1.2.3/8", "10.9.9.9", 80, True),
        ("10.0.0.0/8", "tsa.example", 80, False),
        ("127.0.0.1", "127.0.0.1", 80, True),
        ("127.0.0.1:81", "127.0.0.1", 80, False),
        ("127.0.0.1:81", "127.0.0.1", 81, True),
        ("fd00::/8", "fd12::1", 443, True),
        ("[::1]", "::1", 443, True),
        ("[::1]:443", "::1", 443, True),
        ("[::1]:444", "::1", 443, False),
        ("::1", "::1", 443, True),
        ("1", "127.0.0.1", 80, False),
        (". , :80", "tsa.example", 80, False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, port: int, expected: bool) -> None:
    assert bypassed(host, port, no_proxy) == expected
