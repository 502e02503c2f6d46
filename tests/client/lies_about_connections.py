"""Lies of TLS servers and of proxies."""

from __future__ import annotations

from tests.client.lying_server import OK, Conversation, lie
from tsa_core.client import RequestTimeout, ServerNotTrusted, TransportError, UnexpectedAnswer

# --- TLS ---


@lie(RequestTimeout, raw=True)
def silence_in_the_handshake(c: Conversation) -> None:
    c.stay()


@lie(RequestTimeout, raw=True)
def dripped_handshake(c: Conversation) -> None:
    # The header of a record with 16,000 bytes of handshake, of which one comes at a time.
    c.drip(b"\x16\x03\x03\x3e\x80\x02\x00\x3e\x7c", b"\0")


@lie(TransportError, "does not speak TLS at this port", raw=True)
def plain_http_behind_https(c: Conversation) -> None:
    c.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@lie(TransportError, "closed", raw=True)
def closed_in_the_handshake(c: Conversation) -> None:
    c._receive()


@lie(TransportError, "reset", raw=True)
def reset_in_the_handshake(c: Conversation) -> None:
    c._receive()
    c.reset()


@lie(ServerNotTrusted, "it is for another name", tls="other-name")
def certificate_for_another_name(c: Conversation) -> None:
    c.answer(OK, c.reply())


@lie(ServerNotTrusted, "it has expired", tls="expired")
def expired_certificate(c: Conversation) -> None:
    c.answer(OK, c.reply())


@lie(ServerNotTrusted, "its certificate authority is unknown here.*--ca", tls="unknown-authority")
def certificate_of_an_unknown_authority(c: Conversation) -> None:
    c.answer(OK, c.reply())


@lie(ServerNotTrusted, "its certificate authority is unknown here.*self-signed", tls="self-signed")
def self_signed_certificate(c: Conversation) -> None:
    c.answer(OK, c.reply())


@lie(TransportError, "demands a client certificate", tls="demanding")
def client_certificate_demanded(c: Conversation) -> None:
    c.answer(OK, c.reply())


@lie(RequestTimeout, tls="good")
def dripped_header_in_tls(c: Conversation) -> None:
    c.hear()
    c.drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x")


@lie(TransportError, "", tls="good")
def reset_in_tls(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    c.reset()


# --- proxies ---


@lie(RequestTimeout, proxy_for="https")
def silent_proxy(c: Conversation) -> None:
    c.hear()
    c.stay()


@lie(RequestTimeout, proxy_for="https")
def proxy_that_drips_its_status(c: Conversation) -> None:
    c.hear()
    c.drip(b"HTTP/1.1 200 ", b"O")


@lie(RequestTimeout, proxy_for="https")
def proxy_that_drips_a_header(c: Conversation) -> None:
    c.hear()
    c.drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x")


@lie(RequestTimeout, proxy_for="https")
def proxy_to_nobody(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 200 OK\r\n\r\n")
    c.stay()


@lie(TransportError, "the proxy wants credentials", proxy_for="https")
def proxy_that_wants_credentials(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")


@lie(TransportError, "the proxy refused to connect: 503", proxy_for="https")
def proxy_that_refuses(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 503 Not \x1b[31mtoday\r\nContent-Length: 0\r\n\r\n")


@lie(UnexpectedAnswer, "the proxy wants credentials", proxy_for="http")
def http_proxy_that_wants_credentials(c: Conversation) -> None:
    c.answer("407 Proxy Authentication Required", b"<title>Log in</title>", "text/html")


@lie(RequestTimeout, proxy_for="http")
def http_proxy_that_drips(c: Conversation) -> None:
    c.hear()
    c.drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x")
