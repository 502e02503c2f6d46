"""waitress's channel: a connection that sends whole replies past the buffers, takes turns, and ends gently.

The guards see the head of a request whose body has not come. Whoever they refuse is answered then: what still comes is
dropped, and the connection ends a little later, since to close it at once would destroy a reply that is under way.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from waitress import wasyncore
from waitress.buffers import OverflowableBuffer
from waitress.channel import ClientDisconnected, HTTPChannel

from tsa_core.hosting.waitress.refusals import JsonErrorTask
from tsa_core.hosting.waitress.request import Parser, Task, UsualRequest, usual_reply
from tsa_core.http.batching import BatchedRequest
from tsa_core.http.fast_path import UsualHead
from tsa_core.http.thread_pools import LeaveIoThread

_MAX_DROPPED = 262_144
_LINGER_SECONDS = 2.0
_BETWEEN_OCTETS = 2048
"""What is read at once where a request may begin: a few requests at most, since all of them are parsed at once."""

_OF_CONSTRUCTOR = {
    "OverflowableBuffer", "outbuf_overflow", "outbufs", "socket", "getsockopt", "SOL_SOCKET", "SO_SNDBUF",
    "sendbuf_len", "threading", "Lock", "requests_lock", "Condition", "outbuf_lock", "wasyncore", "dispatcher",
    "__init__", "connected", "server", "adj", "addr", "requests", "time", "creation_time", "last_activity",
}  # fmt: skip
"""The names in the constructor of waitress's channel that `Channel` stands in for."""
_KNOWS_WAITRESS = set(HTTPChannel.__init__.__code__.co_names) == _OF_CONSTRUCTOR
"""Whether the installed waitress has that constructor; the one of a later version may do more, and is called."""


class _WhenNeeded:
    """An attribute that is made when it is asked for first; threads that ask at the same time get the same."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, channel: Any, _owner: type | None = None) -> Any:
        return vars(channel).setdefault(self._name, self._make(channel))


class Channel(HTTPChannel):  # type: ignore[misc] # waitress has no types
    """A connection that uses this module's parser and task, and sends a whole reply past waitress's buffers."""

    parser_class = Parser
    task_class = Task
    error_task_class = JsonErrorTask
    awaits_reply = False
    """Whether a request of this connection is in the batch."""
    handshaking = False
    """Whether the handshake of TLS is not complete."""
    unread = False
    """Whether a request was refused whose body is still to come: the connection then ends gently."""
    lingers_until: float | None = None
    """Until when what still comes is dropped, by the monotonic clock, once the end has been sent."""
    batched: BatchedRequest | None = None
    """The request in front, when it has left for a pool that signs it, until it goes on."""
    held = False
    """Whether the next request waits until the client has read most of the replies to those before."""
    request: Any = None
    requests: list[Any]
    addr: tuple[Any, ...] = ("",)
    _dropped = 0
    holder = ""
    """The address or network whose share of the connections, and turns, this one counts for; empty for none."""
    _block = b"\r\n"
    """The header block of the last usual request; at first what no header block begins with."""
    reply = b""
    """A reply that is complete, while waitress's buffers are empty: sent as it is, it costs a third."""

    # waitress makes these for each connection, and they cost as much as reading a request does. A connection whose
    # replies are all sent as they are needs none of them (decision 292).
    outbufs = _WhenNeeded(lambda channel: [OverflowableBuffer(channel.adj.outbuf_overflow)])
    sendbuf_len = _WhenNeeded(lambda channel: channel.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
    requests_lock = _WhenNeeded(lambda _: threading.Lock())
    outbuf_lock = _WhenNeeded(lambda _: threading.Condition())

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:  # noqa: A002 - waitress's
        if _KNOWS_WAITRESS:
            # In place of waitress's own constructor, which does this and makes what is made when needed here.
            self.server = server
            self.adj = adj
            self.creation_time = self.last_activity = time.time()
            wasyncore.dispatcher.__init__(self, sock, map=map)
            self.connected = True
            self.addr = addr
            self.requests = []
        else:
            super().__init__(server, sock, addr, adj, map=map)
        server.slots.add(self)

    def handle_read(self) -> None:
        """Read what has arrived; of a new connection that may be nothing yet."""
        try:
            data = self.socket.recv(_BETWEEN_OCTETS if self.request is None else self.adj.recv_bytes)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data and self.lingers_until is not None:
            self._drop(len(data))
        elif data:
            self.last_activity = time.time()
            if self.request is None and not self.requests and (whole := self._whole(data)):
                self.requests.append(whole)
                self.server.add_task(self)
                return
            self.received(data)
            request = self.request
            if request is not None and request.headers_finished and not self.requests:
                self._ask_guards(request)
        else:
            self.handle_close()

    def _whole(self, data: bytes) -> UsualRequest | Parser | None:
        """Return the request that `data` is, no more and no less, when its header block is known; else None."""
        generation = self.server.live.generation
        if (usual := generation.usual) is not None:
            block = self._block
            if not data.startswith(block):
                block = data[: data.find(b"\r\n\r\n") + 4]
            head: UsualHead | None = usual.usual_heads.get(block)
            if head is not None and len(data) == len(block) + head.size:
                self._block = block
                return UsualRequest(generation, head, block, data)
        return self.parser_class.whole(self.adj, data)

    def _ask_guards(self, request: Parser) -> bool:
        """Queue the head of a request whose body has not come, when there are guards that have not seen it."""
        if request.passed is not None or request.error is not None:
            return False
        if not getattr(self.server.application, "checks_heads", False):
            request.passed = {}
            return False
        self.requests.append(request.head_alone())
        self.server.add_task(self)
        return True

    def readable(self) -> bool:
        """Say whether to read: no request waits, and no reply is unsent."""
        return not (
            self.reply
            or self.total_outbufs_len
            or self.will_close
            or self.close_when_flushed
            or len(self.requests) > self.adj.channel_request_lookahead
        )

    def writable(self) -> bool:
        """Say whether there is something to send, or to end."""
        return bool(self.reply or self.total_outbufs_len or self.will_close or self.close_when_flushed)

    def service(self) -> None:
        """Answer a request, perhaps in another thread than the one that sends: the reply before goes to the buffers."""
        request = self.requests[0]
        if type(request) is UsualRequest:
            if self.batched is None or self.batched.pool is None:
                self._begin_usual(request)
                return
            self.requests[0] = request.parsed(self.adj)  # its task says that no thread has signed it
        if self.reply:
            self._buffer_reply()
        if not self.connected and (begun := self.batched) is not None:
            self.batched = None
            if begun.pool is None:  # as above
                self.task_class(self, self.requests[0]).add_to_batch(begun)
        super().service()

    def _begin_usual(self, request: UsualRequest) -> None:
        """Add a request to the batch. When it has to wait for something, it goes on as any other does."""
        begun, self.batched = self.batched, None
        if begun is None and self.connected:
            begun = self._read_usual(request)
        else:
            self.last_activity = time.time()  # it has waited for a pool
        if begun is not None:  # what was signed is recorded, even when the connection was closed meanwhile
            begun.connection = self
            self.awaits_reply = True
            self.server.task_dispatcher.batch.add(begun)
        del self.requests[0]

    def _read_usual(self, request: UsualRequest) -> BatchedRequest:
        """Read a request. One that has to wait leaves for a pool: to be signed there, or to be read again."""
        try:
            begun = request.head.begin(request.data[len(request.block) :], self.addr[0])
        except LeaveIoThread:
            self.requests[0] = request.parsed(self.adj)
            raise
        begun.holds = request.generation
        if begun.pending.waits and (pool := begun.pool) is not None:
            raise LeaveIoThread(pool, begun)
        return begun

    def answer_usual(self, second: int, status: str, request: BatchedRequest, der: bytes) -> None:
        """Take the reply to the request that is in the batch; `second` is that of its Date."""
        head: UsualHead = request.usual
        close = head.closes or (self.server.slots.letting_go > 0 and self.lets_go())
        reply = usual_reply(second, status, head.reply_headers, self.adj.ident, close)
        reply %= (request.request_id.encode("ascii"), len(der), der)
        if self.reply or self.total_outbufs_len or not self.connected:
            self.put(reply)
        else:
            self.reply = reply
        if close:
            self.close_when_flushed = True
        self.awaits_reply = False  # from here on the next request of this connection may be answered

    def send_continue(self) -> None:
        """Ask for the body of a request (100 Continue), behind the reply to the one before, if guards let it pass."""
        if self._ask_guards(self.request):
            return
        if self.reply:
            self._buffer_reply()
        super().send_continue()

    def put(self, reply: bytes) -> None:
        """Take a complete reply, to be sent by `handle_write`; for who has the I/O thread's part in a request."""
        if not self.connected:
            return
        waits = bool(self.reply or self.total_outbufs_len)
        self.reply += reply
        if waits:
            self._buffer_reply()

    def lets_go(self) -> bool:
        """Say whether the reply to come ends this connection, so that its client may get another worker."""
        others = len(self.requests) if self.awaits_reply else len(self.requests) - 1
        if others or self.request is not None:
            return False  # more is to be answered here
        self.server.slots.letting_go -= 1
        return True

    def _buffer_reply(self) -> None:
        reply, self.reply = self.reply, b""
        with suppress(ClientDisconnected):  # the client is gone, so the reply is dropped
            self.write_soon(reply)

    def handle_write(self) -> None:
        """Send what there is."""
        if self.reply and (self.send_reply() or not self.connected or self.total_outbufs_len):
            return
        super().handle_write()
        if self.held and self.connected and self.total_outbufs_len < self.adj.send_bytes:
            self.held = False
            self.server.add_task(self)

    def send_reply(self) -> bool:
        """Send the reply that is there; returns whether all was sent and the connection goes on."""
        reply, self.reply = self.reply, b""
        self.current_outbuf_count += len(reply)  # which says that this client was served
        try:
            sent = self.socket.send(reply)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.handle_close()
            return False
        if sent < len(reply):
            self.write_soon(reply[sent:])
            return False
        self.last_activity = time.time()
        if self.close_when_flushed or self.will_close:
            self.handle_close()  # nothing is in the buffers while there is a whole reply
        return bool(self.connected)

    def _drop(self, octets: int) -> None:
        """Drop octets of a client that was refused; beyond a limit the connection is closed."""
        self._dropped += octets
        if self._dropped > _MAX_DROPPED:
            self.handle_close()

    def _linger(self) -> bool:
        """Send the end, and drop what still comes: to close at once would destroy a reply that is under way.

        Returns whether there is a connection that lingers.
        """
        self.unread = self.will_close = self.close_when_flushed = False
        self.request = None
        self.requests = []
        self.lingers_until = time.monotonic() + _LINGER_SECONDS
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    def handle_close(self) -> None:
        """Close the connection; what is not sent is dropped."""
        if self.unread and self.connected and not (self.reply or self.total_outbufs_len) and self._linger():
            return
        self.reply = b""
        self.connected = False  # first: a thread that makes the lock from now on waits for nothing
        if "outbuf_lock" in vars(self):
            super().handle_close()
        else:
            wasyncore.dispatcher.close(self)

    def del_channel(self, map: Any = None) -> None:  # noqa: A002 - waitress's
        """Leave the loop."""
        super().del_channel(map)
        self.server.slots.remove(self)

    def hold(self) -> None:
        """Let the next request wait."""
        self.held = True
