"""TCP links between a replica and what it depends on, which can be cut."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_OCTETS = 65_536


@dataclass(eq=False)
class _End:
    """One of the two sockets of a connection; `held` is what came from it while the link was cut."""

    link: Link
    stream: socket.socket
    other: _End | None = None
    held: list[bytes] = field(default_factory=list)


class Link:
    """Passes on what comes to `port` of 127.0.0.1 to another port there.

    `cut` lets everything wait that either side sends, new connections too, as a network does that loses packets: nobody
    is told. `mend` delivers what has waited, as TCP does when it sends again.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._cut = False
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[_End] = []
        self._lock = threading.Lock()
        self._closing = False
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._closing = True
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            pass  # wakes the thread
        self._thread.join(10)
        for end in self._ends:
            end.stream.close()
        self._listener.close()
        self._selector.close()

    def cut(self) -> None:
        """Deliver nothing from now on, in neither direction."""
        with self._lock:
            self._cut = True

    def mend(self) -> None:
        """Deliver again, first what has waited."""
        with self._lock:
            self._cut = False
            for end in list(self._ends):
                waiting, end.held = end.held, []
                for data in waiting:
                    self._deliver(end, data)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if self._closing:
                    return
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.data in self._ends:
                        self._receive(key.data)

    def _accept(self) -> None:
        client = _End(self, self._listener.accept()[0])
        try:
            backend = _End(self, socket.create_connection(("127.0.0.1", self._to), 5), client)
        except OSError:
            client.stream.close()
            return
        client.other = backend
        for end in (client, backend):
            end.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.stream.settimeout(5)
            self._ends.append(end)
            self._selector.register(end.stream, selectors.EVENT_READ, end)

    def _receive(self, end: _End) -> None:
        try:
            data = end.stream.recv(_OCTETS)
        except OSError:
            data = b""
        if not data:
            # Nobody reads from it any more; the end is told like everything else.
            self._selector.unregister(end.stream)
        if self._cut:
            end.held.append(data)
        else:
            self._deliver(end, data)

    def _deliver(self, end: _End, data: bytes) -> None:
        assert end.other is not None
        try:
            if data:
                end.other.stream.sendall(data)
                return
        except OSError:
            pass
        for each in (end, end.other):
            if each in self._ends:
                self._ends.remove(each)
                with suppress(KeyError, ValueError):
                    self._selector.unregister(each.stream)
                each.stream.close()
