"""Servers that lie: each function here is one way to hold, flood or mislead a client, and says how it must end.

The tests run them all, and `python -m bench.lying_servers` measures how long each takes and how much memory.
"""

from __future__ import annotations

import gzip
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Final, Literal, Self

from tests.tls_material import TlsMaterial
from tsa_core.client import (
    BadReply,
    ClientError,
    ConnectionFailed,
    ReplyTooLarge,
    RequestTimeout,
    ServerNotTrusted,
    TimestampRefused,
    TransportError,
    UnexpectedAnswer,
)
from tsa_core.protocol.request import read_request
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import make_chain

CHAIN: Final = make_chain()
REPLY_TYPE: Final = "application/timestamp-reply"
_TICK: Final = 0.02
_BLOCK: Final = bytes(1 << 16)
_BOMB: Final = 64 << 20

Certificate = Literal["good", "other-name", "expired", "self-signed", "unknown-authority", "demanding"]


class Conversation:
    """The server's end of one connection; every wait ends with the server."""

    def __init__(self, connection: socket.socket, server: LyingServer) -> None:
        self.connection = connection
        self.server = server
        self.head = b""
        self.body = b""

    def hear(self) -> bytes:
        """Read a request and return its body; the second time, return the same."""
        if self.head:
            return self.body
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        self.head, _, body = data.partition(b"\r\n\r\n")
        lines = [line.lower() for line in self.head.split(b"\r\n")]
        length = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)
        while len(body) < length:
            body += self._receive()
        self.body = body
        return body

    def _receive(self) -> bytes:
        data = self.connection.recv(1 << 16)
        if not data:
            raise ConnectionError("the client has gone")
        return data

    def send(self, *parts: bytes) -> None:
        """Send bytes as they are."""
        self.connection.sendall(b"".join(parts))

    def answer(self, status: str, body: bytes = b"", media_type: str = REPLY_TYPE, **headers: str) -> None:
        """Hear a request and send a well-formed answer."""
        self.hear()
        fields = {"Content-Type": media_type, "Content-Length": str(len(body)), "Connection": "close"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.send(head(status, fields), body)

    def reply(self) -> bytes:
        """Hear a request and return an honest reply to it."""
        request = read_request(self.hear())
        content = forge.tst_info(digest=request.digest, nonce=request.nonce, gen_time=datetime.now(UTC))
        return forge.reply(forge.token(CHAIN.signer, content, certificates=[CHAIN.signer.der]))

    def drip(self, beginning: bytes, drop: bytes) -> None:
        """Send a beginning, and then one drop after another until the client goes."""
        self.send(beginning)
        while not self.server.stopped.wait(_TICK):
            self.send(drop)

    def flood(self, beginning: bytes, block: bytes = _BLOCK) -> None:
        """Send a beginning, and then the block as fast as the client takes it."""
        self.send(beginning)
        while not self.server.stopped.is_set():
            self.send(block)

    def stay(self) -> None:
        """Say nothing more, and keep the connection."""
        self.server.stopped.wait()

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def head(status: str, fields: Mapping[str, str]) -> bytes:
    """Return the head of an HTTP answer."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True, kw_only=True)
class Lie:
    """What a server does, and how a client must end: with `error`, whose text has `says`, or with a right answer."""

    act: Callable[[Conversation], None]
    error: type[ClientError] | None
    says: str = ""
    tls: Certificate | None = None
    raw: bool = False
    """Whether `act` begins before TLS: the client expects it all the same."""
    proxy_for: Literal["http", "https"] | None = None

    @property
    def name(self) -> str:
        return self.act.__name__

    @property
    def timeout(self) -> float:
        """A short one where the end is the deadline; elsewhere one that a slow machine does not reach."""
        return 0.4 if self.error is RequestTimeout else 60.0


LIES: dict[str, Lie] = {}


def lie(
    error: type[ClientError] | None,
    says: str = "",
    *,
    tls: Certificate | None = None,
    raw: bool = False,
    proxy_for: Literal["http", "https"] | None = None,
) -> Callable[[Callable[[Conversation], None]], Callable[[Conversation], None]]:
    """Put a function on the list."""

    def register(act: Callable[[Conversation], None]) -> Callable[[Conversation], None]:
        LIES[act.__name__] = Lie(act=act, error=error, says=says, tls=tls, raw=raw, proxy_for=proxy_for)
        return act

    return register


class LyingServer:
    """Serves one lie on a free port of 127.0.0.1; each connection has a thread."""

    def __init__(self, lie: Lie, certificates: Certificates) -> None:
        self.stopped = threading.Event()
        self.heads: list[bytes] = []
        self._lie = lie
        self._context = None if lie.tls is None else certificates.context(lie.tls)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        port = self._listener.getsockname()[1]
        self.origin = f"http://127.0.0.1:{port}"
        self.environment: dict[str, str] = {}
        if lie.proxy_for is not None:
            self.url = f"{lie.proxy_for}://tsa.invalid/tsa"
            self.environment[f"{lie.proxy_for}_proxy"] = self.origin
        else:
            self.url = f"{'https' if lie.tls or lie.raw else 'http'}://127.0.0.1:{port}/tsa"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(60)
        try:
            if self._context is not None:
                connection = self._handshake(connection, self._context)
            conversation = Conversation(connection, self)
            try:
                self._lie.act(conversation)
            finally:
                self.heads.append(conversation.head)
            connection.shutdown(socket.SHUT_WR)
        except (OSError, ValueError):
            pass  # the client has ended it, as it should
        finally:
            connection.close()

    def _handshake(self, connection: socket.socket, context: ssl.SSLContext) -> socket.socket:
        """Do TLS's; when it fails, wait until the client has read why, which closing at once may prevent."""
        tls = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        try:
            tls.do_handshake()
        except OSError:
            with closing(tls), suppress(OSError):
                tls.shutdown(socket.SHUT_WR)
                while socket.socket.recv(tls, 1 << 16):
                    pass
            raise
        return tls

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


class Certificates:
    """What servers show in TLS, made when it is first asked for; `ca` is the file that the client trusts."""

    def __init__(self, folder: Path) -> None:
        self._trusted = TlsMaterial(folder)
        self._folder = folder
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.ca = self._trusted.ca

    def client(self) -> tuple[Path, Path]:
        """Return a certificate that a demanding server accepts, and its key."""
        return self._trusted.write("client")

    def context(self, kind: Certificate) -> ssl.SSLContext:
        if kind not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._files(kind))
            if kind == "demanding":
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(self.ca)
            self._contexts[kind] = context
        return self._contexts[kind]

    def _files(self, kind: Certificate) -> tuple[Path, Path]:
        if kind == "other-name":
            return self._trusted.write(kind, host="127.0.0.2")
        if kind == "expired":
            return self._trusted.write(kind, days=-1)
        if kind == "unknown-authority":
            return TlsMaterial(self._folder, "Stranger").write(kind)
        if kind == "self-signed":
            return TlsMaterial(self._folder, kind).write_self_signed()
        return self._trusted.write(kind)


# --- silence and drips: the deadline ends them ---

_OK: Final = "200 OK"
_CHUNKED: Final = head(_OK, {"Content-Type": REPLY_TYPE, "Transfer-Encoding": "chunked"})


def _sized(size: int) -> bytes:
    return head(_OK, {"Content-Type": REPLY_TYPE, "Content-Length": str(size)})


@lie(RequestTimeout)
def silence_after_accepting(c: Conversation) -> None:
    c.stay()


@lie(RequestTimeout)
def silence_after_the_request(c: Conversation) -> None:
    c.hear()
    c.stay()


@lie(RequestTimeout)
def dripped_status_line(c: Conversation) -> None:
    c.hear()
    c.drip(b"HTTP/1.1 200 ", b"O")


@lie(RequestTimeout)
def dripped_header_name(c: Conversation) -> None:
    c.hear()
    c.drip(b"HTTP/1.1 200 OK\r\n", b"X")


@lie(RequestTimeout)
def dripped_header_value(c: Conversation) -> None:
    c.hear()
    c.drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x")


@lie(RequestTimeout)
def headers_without_an_end(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n")
    c.stay()


@lie(RequestTimeout)
def dripped_interim_answers(c: Conversation) -> None:
    c.hear()
    c.drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n")


@lie(RequestTimeout)
def flood_of_interim_answers(c: Conversation) -> None:
    c.hear()
    c.flood(b"", b"HTTP/1.1 100 Continue\r\nX-Padding: x\r\n\r\n" * 500)


@lie(RequestTimeout)
def dripped_chunk_size(c: Conversation) -> None:
    c.hear()
    c.drip(_CHUNKED, b"0")


@lie(RequestTimeout)
def dripped_chunk_extension(c: Conversation) -> None:
    c.hear()
    c.drip(_CHUNKED + b"5;slow=", b"x")


@lie(RequestTimeout)
def dripped_chunk(c: Conversation) -> None:
    c.hear()
    c.drip(_CHUNKED + b"1000\r\n", b"0")


@lie(RequestTimeout)
def dripped_chunks(c: Conversation) -> None:
    c.hear()
    c.drip(_CHUNKED, b"1\r\n0\r\n")


@lie(RequestTimeout)
def dripped_trailer(c: Conversation) -> None:
    reply = c.reply()
    c.drip(_CHUNKED + b"%x\r\n%b\r\n0\r\nX-Slow: " % (len(reply), reply), b"x")


@lie(RequestTimeout)
def trailers_without_an_end(c: Conversation) -> None:
    reply = c.reply()
    c.flood(_CHUNKED + b"%x\r\n%b\r\n0\r\n" % (len(reply), reply), b"X-Trailer: x\r\n" * 1000)


@lie(RequestTimeout)
def dripped_body(c: Conversation) -> None:
    c.hear()
    c.drip(_sized(5000), b"0")


@lie(RequestTimeout)
def dripped_body_without_a_length(c: Conversation) -> None:
    c.hear()
    c.drip(head(_OK, {"Content-Type": REPLY_TYPE}), b"0")


@lie(RequestTimeout)
def silence_in_the_body(c: Conversation) -> None:
    reply = c.reply()
    c.send(_sized(len(reply)), reply[:-1])
    c.stay()


@lie(RequestTimeout)
def silence_after_a_body_without_a_length(c: Conversation) -> None:
    reply = c.reply()
    c.send(head(_OK, {"Content-Type": REPLY_TYPE}), reply)
    c.stay()


@lie(RequestTimeout)
def dripped_error_page(c: Conversation) -> None:
    c.hear()
    c.drip(head("500 Internal Server Error", {"Content-Type": "text/html"}), b"x")


@lie(RequestTimeout)
def each_redirect_takes_its_time(c: Conversation) -> None:
    c.hear()
    c.server.stopped.wait(0.3)
    c.send(head("307 Temporary Redirect", {"Location": "/tsa", "Content-Length": "0", "Connection": "close"}))


@lie(RequestTimeout)
def busy_for_ever(c: Conversation) -> None:
    c.hear()
    c.drip(head("503 Service Unavailable", {"Retry-After": "0"}), b"x")


# --- too much ---


@lie(TransportError, "too long")
def huge_header(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 200 OK\r\nX-Huge: ", b"x" * (1 << 20), b"\r\n\r\n")


@lie(TransportError, "too long")
def endless_header(c: Conversation) -> None:
    c.hear()
    c.flood(b"HTTP/1.1 200 OK\r\nX-Huge: ", b"x" * (1 << 16))


@lie(TransportError, "too many header fields")
def endless_headers(c: Conversation) -> None:
    c.hear()
    c.flood(b"HTTP/1.1 200 OK\r\n", b"X-Many: x\r\n" * 1000)


@lie(TransportError, "too long")
def huge_status_line(c: Conversation) -> None:
    c.hear()
    c.flood(b"HTTP/1.1 200 ", b"O" * (1 << 16))


@lie(ReplyTooLarge, "more than 1048576 bytes")
def huge_body_announced(c: Conversation) -> None:
    c.hear()
    c.flood(_sized(10 << 30))


@lie(ReplyTooLarge, "more than 1048576 bytes")
def endless_body_without_a_length(c: Conversation) -> None:
    c.hear()
    c.flood(head(_OK, {"Content-Type": REPLY_TYPE}))


@lie(ReplyTooLarge, "more than 1048576 bytes")
def endless_chunks(c: Conversation) -> None:
    c.hear()
    c.flood(_CHUNKED, b"%x\r\n%b\r\n" % (len(_BLOCK), _BLOCK))


@lie(ReplyTooLarge, "more than 1048576 bytes")
def chunk_of_all_memory(c: Conversation) -> None:
    c.hear()
    c.flood(_CHUNKED + b"ffffffffffffffff\r\n")


@lie(TransportError, "")
def chunk_size_of_100_000_digits(c: Conversation) -> None:
    c.hear()
    c.flood(_CHUNKED + b"f" * 100_000 + b"\r\n")


@lie(UnexpectedAnswer, "HTTP status 500: xxx")
def endless_error_page(c: Conversation) -> None:
    c.hear()
    c.flood(head("500 Internal Server Error", {"Content-Type": "text/plain"}), b"x" * (1 << 16))


@lie(UnexpectedAnswer, "encoded as gzip")
def gzip_bomb(c: Conversation) -> None:
    c.answer(_OK, gzip.compress(bytes(_BOMB), 1), Content_Encoding="gzip")


@lie(UnexpectedAnswer, "encoded as gzip, gzip")
def gzip_bomb_in_two_layers(c: Conversation) -> None:
    c.answer(_OK, gzip.compress(gzip.compress(bytes(_BOMB), 1), 1), Content_Encoding="gzip, gzip")


@lie(UnexpectedAnswer, "encoded as br")
def compressed_though_not_asked_to(c: Conversation) -> None:
    c.answer(_OK, c.reply(), Content_Encoding="br")


# --- redirects ---


def _redirect(c: Conversation, location: str, status: str = "307 Temporary Redirect") -> None:
    c.answer(status, Location=location)


@lie(TransportError, "more than 3 redirects")
def redirect_to_itself(c: Conversation) -> None:
    _redirect(c, "/tsa")


@lie(TransportError, "more than 3 redirects")
def redirect_to_ever_new_places(c: Conversation) -> None:
    _redirect(c, f"/tsa/{next(_numbers)}", "308 Permanent Redirect")


_numbers = itertools.count()


@lie(TransportError, "not followed")
def redirect_to_a_file(c: Conversation) -> None:
    _redirect(c, "file:///etc/passwd")


@lie(TransportError, "not followed")
def redirect_to_ftp(c: Conversation) -> None:
    _redirect(c, "ftp://127.0.0.1/reply")


@lie(TransportError, "not followed")
def redirect_to_half_an_address(c: Conversation) -> None:
    _redirect(c, "http://[::1/tsa")


@lie(TransportError, "not followed")
def redirect_to_an_impossible_port(c: Conversation) -> None:
    _redirect(c, "http://127.0.0.1:99999/")


@lie(TransportError, "more than 3 redirects")
def redirect_to_no_host(c: Conversation) -> None:
    _redirect(c, "http:///tsa")


@lie(TransportError, "not followed")
def redirect_with_control_characters(c: Conversation) -> None:
    _redirect(c, "/tsa\x01\x1b[31m HTTP/1.1")


@lie(TransportError, "not followed")
def redirect_to_a_name_of_dots(c: Conversation) -> None:
    _redirect(c, "http://user:secret@a b/")


@lie(TransportError, "")
def redirect_to_an_endless_name(c: Conversation) -> None:
    _redirect(c, f"http://{'a' * 300}/")


@lie(TransportError, "without saying where to")
def redirect_to_nowhere(c: Conversation) -> None:
    c.answer("307 Temporary Redirect")


@lie(UnexpectedAnswer, "it has moved to '/elsewhere'")
def redirect_that_loses_the_request(c: Conversation) -> None:
    _redirect(c, "/elsewhere", "302 Found")


@lie(TransportError, "not followed", tls="good")
def redirect_out_of_tls(c: Conversation) -> None:
    _redirect(c, "http://127.0.0.1:1/")


# --- framing ---


@lie(ConnectionFailed, "ended before it was complete")
def content_length_too_long(c: Conversation) -> None:
    reply = c.reply()
    c.send(_sized(len(reply) + 1), reply)


@lie(BadReply, "cannot be read")
def content_length_too_short(c: Conversation) -> None:
    reply = c.reply()
    c.send(_sized(len(reply) - 1), reply)


@lie(None)
def content_length_below_zero(c: Conversation) -> None:
    reply = c.reply()
    c.send(_sized(-5), reply)


@lie(TransportError, "headers contradict")
def two_content_lengths(c: Conversation) -> None:
    reply = c.reply()
    c.send(head(_OK, {"Content-Length": f"{len(reply)}, 7"}), reply)


@lie(ConnectionFailed, "ended before it was complete")
def chunk_size_that_is_no_number(c: Conversation) -> None:
    c.hear()
    c.send(_CHUNKED, b"nonsense\r\n")


@lie(ConnectionFailed, "ended before it was complete")
def chunks_without_the_last(c: Conversation) -> None:
    reply = c.reply()
    c.send(_CHUNKED, b"%x\r\n%b\r\n" % (len(reply) + 9, reply))


@lie(None)
def chunks_with_extensions_and_trailers(c: Conversation) -> None:
    reply = c.reply()
    c.send(_CHUNKED, b"%x;a=b\r\n%b\r\n0;c\r\nX-Trailer: x\r\n\r\n" % (len(reply), reply))


@lie(None)
def chunked_and_a_wrong_length(c: Conversation) -> None:
    reply = c.reply()
    fields = {"Content-Type": REPLY_TYPE, "Transfer-Encoding": "chunked", "Content-Length": "3"}
    c.send(head(_OK, fields), b"%x\r\n%b\r\n0\r\n\r\n" % (len(reply), reply))


@lie(None)
def one_byte_at_a_time(c: Conversation) -> None:
    reply = c.reply()
    for octet in head(_OK, {"Content-Length": str(len(reply))}) + reply:
        c.send(bytes((octet,)))


@lie(None)
def an_interim_answer_first(c: Conversation) -> None:
    reply = c.reply()
    c.send(b"HTTP/1.1 100 Continue\r\n\r\n", _sized(len(reply)), reply)


@lie(None)
def more_after_the_reply(c: Conversation) -> None:
    reply = c.reply()
    c.send(_sized(len(reply)), reply, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@lie(None)
def early_answer_of_a_deaf_server(c: Conversation) -> None:
    reply = c.reply()
    c.send(_sized(len(reply)), reply)
    c.stay()


# --- connections that break ---


@lie(ConnectionFailed, "")
def reset_at_once(c: Conversation) -> None:
    c.reset()


@lie(ConnectionFailed, "reset")
def reset_after_the_request(c: Conversation) -> None:
    c.hear()
    c.reset()


@lie(ConnectionFailed, "")
def reset_in_the_status_line(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 2")
    c.reset()


@lie(ConnectionFailed, "")
def reset_in_the_headers(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    c.reset()


@lie(ConnectionFailed, "")
def reset_in_the_body(c: Conversation) -> None:
    reply = c.reply()
    c.send(_sized(len(reply)), reply[:100])
    c.reset()


@lie(ConnectionFailed, "closed without an answer")
def closed_without_an_answer(c: Conversation) -> None:
    c.hear()


@lie(UnexpectedAnswer, "200: an empty answer")
def closed_in_the_headers(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 200 OK\r\nX-Cut: ")


@lie(UnexpectedAnswer, "HTTP status 500: half a sen")
def closed_in_an_error_page(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nhalf a sen")


# --- what is not HTTP/1.1 ---


@lie(TransportError, "not HTTP")
def no_head_at_all(c: Conversation) -> None:
    c.send(c.reply())


@lie(TransportError, "not HTTP")
def http_2(c: Conversation) -> None:
    c.hear()
    c.send(
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80\x00\x04\x00\x01\x00\x00\x00\x05\x00\xff\xff\xff"
    )


@lie(TransportError, "not HTTP")
def mail_server(c: Conversation) -> None:
    c.send(b"220 mail.example.org ESMTP \x1b[2J\r\n")
    c.hear()


@lie(TransportError, "HTTP")
def http_version_of_the_future(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/9.9 200 OK\r\n\r\n")


@lie(TransportError, "not HTTP")
def status_of_two_digits(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 20 OK\r\n\r\n")


@lie(None)
def nul_in_a_header(c: Conversation) -> None:
    reply = c.reply()
    c.send(head(_OK, {"X-Nul": "a\0b", "Content-Length": str(len(reply))}), reply)


@lie(UnexpectedAnswer, "HTTP status 101")
def another_protocol(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n")


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
    c.answer(_OK, c.reply())


@lie(ServerNotTrusted, "it has expired", tls="expired")
def expired_certificate(c: Conversation) -> None:
    c.answer(_OK, c.reply())


@lie(ServerNotTrusted, "its certificate authority is unknown here.*--ca", tls="unknown-authority")
def certificate_of_an_unknown_authority(c: Conversation) -> None:
    c.answer(_OK, c.reply())


@lie(ServerNotTrusted, "its certificate authority is unknown here.*self-signed", tls="self-signed")
def self_signed_certificate(c: Conversation) -> None:
    c.answer(_OK, c.reply())


@lie(TransportError, "demands a client certificate", tls="demanding")
def client_certificate_demanded(c: Conversation) -> None:
    c.answer(_OK, c.reply())


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


# --- answers that are no replies ---


@lie(UnexpectedAnswer, "HTTP status 200, text/html: Welcome to nginx & friends")
def a_page(c: Conversation) -> None:
    page = b"<!doctype html><html><head>\n<TITLE lang=en> Welcome to\n nginx &amp; friends</TITLE></head></html>"
    c.answer(_OK, page, "text/html; charset=utf-8")


@lie(UnexpectedAnswer, "HTTP status 200, application/timestamp-reply: It works!")
def a_page_that_claims_to_be_a_reply(c: Conversation) -> None:
    c.answer(_OK, b"It works!")


@lie(UnexpectedAnswer, "HTTP status 400: the nonce is too long")
def json_that_claims_to_be_a_reply(c: Conversation) -> None:
    c.answer("400 Bad Request", b'{"code": 400, "message": "the nonce is too long"}')


@lie(UnexpectedAnswer, "HTTP status 500: out of order, 0 of 3 keys")
def text_that_claims_to_be_a_reply(c: Conversation) -> None:
    c.answer("500 Internal Server Error", b"out of order,\r\n\x1b0 of 3\0keys")


@lie(UnexpectedAnswer, "HTTP status 500: 0 keys are loaded")
def text_that_begins_like_der(c: Conversation) -> None:
    c.answer("500 Internal Server Error", b"0 keys are loaded")


@lie(UnexpectedAnswer, "HTTP status 400: Not today")
def json_of_rfc_9457(c: Conversation) -> None:
    body = b'{"type": "about:blank", "title": "Bad Request", "detail": "Not today"}'
    c.answer("400 Bad Request", body, "application/problem+json")


@lie(UnexpectedAnswer, r"HTTP status 502 \(Bad Gateway\)")
def an_error_without_a_word(c: Conversation) -> None:
    c.answer("502 \x1b[31mred")


@lie(UnexpectedAnswer, "HTTP status 500: .* bytes that are not text")
def an_error_of_random_bytes(c: Conversation) -> None:
    c.answer("500 Internal Server Error", bytes(range(256)) * 8)


@lie(UnexpectedAnswer, "left alone for 120 seconds")
def too_many_requests(c: Conversation) -> None:
    c.answer("429 Too Many Requests", b"slow down", "text/plain", Retry_After="120")


@lie(UnexpectedAnswer, "left alone for [0-9]+ seconds")
def too_many_requests_until_a_date(c: Conversation) -> None:
    c.answer("429 Too Many Requests", Retry_After=format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True))


@lie(UnexpectedAnswer, "Too Many Requests")
def too_many_requests_for_a_nonsense_time(c: Conversation) -> None:
    c.answer("429 Too Many Requests", Retry_After="Thu, 99 Foo -1 soon\0")


@lie(UnexpectedAnswer, "Too Many Requests")
def too_many_requests_for_ever(c: Conversation) -> None:
    c.answer("429 Too Many Requests", Retry_After="9" * 5000)


@lie(UnexpectedAnswer, "503: maintenance")
def under_maintenance(c: Conversation) -> None:
    c.answer("503 Service Unavailable", b"maintenance", "text/plain", Retry_After="3600")


@lie(UnexpectedAnswer, "HTTP status 204")
def no_content(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 204 No Content\r\n\r\n")


@lie(UnexpectedAnswer, "HTTP status 206")
def a_part(c: Conversation) -> None:
    c.answer("206 Partial Content", b"\x30\x03", Content_Range="bytes 0-1/5")


@lie(UnexpectedAnswer, "HTTP status 304")
def nothing_new(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 304 Not Modified\r\n\r\n")


@lie(UnexpectedAnswer, "an empty answer")
def nothing_at_all(c: Conversation) -> None:
    c.answer(_OK)


@lie(BadReply, "cannot be read")
def half_a_reply(c: Conversation) -> None:
    reply = c.reply()
    c.send(_sized(len(reply) // 2), reply[: len(reply) // 2])


@lie(BadReply, "cannot be read")
def nested_without_end(c: Conversation) -> None:
    c.answer(_OK, b"\x30\x80" * 100_000)


@lie(BadReply, "imprint is not the one in the request")
def a_reply_to_somebody_else(c: Conversation) -> None:
    content = forge.tst_info(b"other data", nonce=1, gen_time=datetime.now(UTC))
    c.answer(_OK, forge.reply(forge.token(CHAIN.signer, content, certificates=[CHAIN.signer.der])))


@lie(TimestampRefused, r"out of service \[2J for today")
def a_refusal_under_an_error(c: Conversation) -> None:
    c.answer("503 Service Unavailable", forge.reply(status=2, texts=["out of service\x1b[2J for today"], failures=[25]))
