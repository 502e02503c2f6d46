"""An HTTP/2 client over a blocking socket: honest requests, many at once, and what no honest client sends."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.serving import QUERY, HttpReply, Server
from tests.tls_material import TlsMaterial

PATH = "/api/v1/timestamp"
_FRAME_HEAD = 9
_GOAWAY = 7


class StreamEnded(Exception):
    """The server reset a stream, or the connection ended before the reply."""


@dataclass
class _Stream:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    done: bool = False
    reset: int | None = None


def over_tls(
    address: tuple[str, int],
    tls: TlsMaterial,
    certificate: Any = None,
    *,
    protocols: Sequence[str] = ("h2", "http/1.1"),
) -> ssl.SSLSocket:
    """Connect and offer `protocols` by ALPN."""
    context = tls.client_context(certificate)
    context.set_alpn_protocols(list(protocols))
    raw = socket.create_connection(address, timeout=90)
    return context.wrap_socket(raw, server_hostname="127.0.0.1")


class Http2Connection:
    """One connection on a socket that is connected already, with prior knowledge; closes it at its end."""

    def __init__(self, connected: socket.socket, *, authority: str = "tsa.example", scheme: str = "http") -> None:
        # The core's tests also run where only the core is installed.
        import h2.config
        import h2.connection
        import h2.events

        self._events = h2.events
        self.socket = connected
        self.authority, self.scheme = authority, scheme
        # What a hostile client sends must leave this one unchecked.
        unchecked = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        self.protocol = h2.connection.H2Connection(unchecked)
        self.streams: dict[int, _Stream] = {}
        self.goaway: int | None = None
        self._unread = b""
        self.closed = False
        self.protocol.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Send what the protocol has to say."""
        self.socket.sendall(self.protocol.data_to_send())

    def begin(
        self,
        method: str = "POST",
        path: str = PATH,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        end: bool = True,
        flush: bool = True,
    ) -> int:
        """Open a stream; return its number. Without `end`, more of the body is to come.

        A POST without headers is a timestamp request.
        """
        number = self.protocol.get_next_available_stream_id()
        self.streams[number] = _Stream()
        names = [(":method", method), (":scheme", self.scheme), (":authority", self.authority), (":path", path)]
        fields = {name.lower(): value for name, value in (headers or {}).items()}
        if method == "POST" and headers is None:
            fields["content-type"] = QUERY
        if body is not None and end:
            fields.setdefault("content-length", str(len(body)))
        self.protocol.send_headers(number, [*names, *fields.items()], end_stream=end and not body)
        if body:
            self.send(number, body, end=end)
        if flush:
            self.flush()
        return number

    def send(self, number: int, body: bytes, *, end: bool) -> None:
        """Send a part of a body, as the windows allow it and until the reply is there; call `flush` afterwards."""
        stream = self.streams[number]
        while body and not (stream.done or self.closed):
            size = min(self.protocol.local_flow_control_window(number), self.protocol.max_outbound_frame_size)
            if size <= 0:
                self.receive()
                continue
            part, body = body[:size], body[size:]
            self.protocol.send_data(number, part, end_stream=end and not body)

    def receive(self) -> None:
        """Read once and deal with what came; sets `closed` at the connection's end."""
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return
        for event in self.protocol.receive_data(self._without_goaway(data)):
            self._deal_with(event)
        self.flush()

    def _without_goaway(self, data: bytes) -> bytes:
        """Note the error code of a GOAWAY and leave it out: h2 takes it for the end, which it is not yet."""
        self._unread += data
        frames = b""
        while len(self._unread) >= _FRAME_HEAD and len(self._unread) >= (size := self._frame_octets()):
            frame, self._unread = self._unread[:size], self._unread[size:]
            if frame[3] == _GOAWAY:
                self.goaway = int.from_bytes(frame[_FRAME_HEAD + 4 : _FRAME_HEAD + 8], "big")
            else:
                frames += frame
        return frames

    def _frame_octets(self) -> int:
        return _FRAME_HEAD + int.from_bytes(self._unread[:3], "big")

    def _deal_with(self, event: Any) -> None:
        stream = self.streams.get(getattr(event, "stream_id", None) or 0)
        if stream is None:
            return
        if isinstance(event, self._events.ResponseReceived):
            names = {name.decode(): value.decode() for name, value in event.headers}
            stream.status = int(names.pop(":status"))
            stream.headers = names
        elif isinstance(event, self._events.DataReceived):
            stream.body += event.data
            self.protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, self._events.StreamEnded):
            stream.done = True
        elif isinstance(event, self._events.StreamReset):
            stream.reset = event.error_code

    def reply(self, number: int) -> HttpReply:
        """Wait for a stream's reply; raises StreamEnded when none comes."""
        stream = self.streams[number]
        while not stream.done:
            if stream.reset is not None or self.closed:
                raise StreamEnded(f"stream {number}: reset {stream.reset}, GOAWAY {self.goaway}")
            self.receive()
        return HttpReply(status=stream.status, headers=stream.headers, body=bytes(stream.body))

    def request(
        self,
        method: str = "POST",
        path: str = PATH,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """Send one request and wait for the reply."""
        return self.reply(self.begin(method, path, body, headers))

    def replies(self, numbers: Iterable[int]) -> list[HttpReply]:
        """Wait for the replies of streams."""
        return [self.reply(number) for number in numbers]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()


@dataclass(frozen=True, kw_only=True)
class Http2Server(Server):
    """A running server that is asked over HTTP/2, each request on a connection of its own."""

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpReply:
        """Send one request, without TLS and with prior knowledge."""
        connected = socket.create_connection(self.address, timeout=90)
        authority = "{}:{}".format(*self.address)
        with Http2Connection(connected, authority=authority) as connection:
            return connection.request(method, path, body, headers or {})
