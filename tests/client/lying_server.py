"""A server that tells one lie, over a real socket; `lying_servers` has the list of lies."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from tests.tls_material import TlsMaterial
from tsa_core.client import (
    ClientError,
    RequestTimeout,
)
from tsa_core.protocol.request import read_request
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import make_chain

CHAIN: Final = make_chain()
REPLY_TYPE: Final = "application/timestamp-reply"
_TICK: Final = 0.02
BLOCK: Final = bytes(1 << 16)
BOMB: Final = 64 << 20

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

    def flood(self, beginning: bytes, block: bytes = BLOCK) -> None:
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


OK: Final = "200 OK"
CHUNKED: Final = head(OK, {"Content-Type": REPLY_TYPE, "Transfer-Encoding": "chunked"})


def sized(size: int) -> bytes:
    return head(OK, {"Content-Type": REPLY_TYPE, "Content-Length": str(size)})


def reply(c: Conversation) -> None:
    """Answer as an honest authority does."""
    c.answer("200 OK", c.reply())


@contextmanager
def server(certificates: Certificates, act: Any = reply, **how: Any) -> Iterator[LyingServer]:
    """Run a server that acts so, honestly unless given."""
    with LyingServer(Lie(act=act, error=None, **how), certificates) as served:
        yield served


def fields(head: bytes) -> dict[str, str]:
    """Return the header fields of a request, by their names in lower case."""
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
