"""The floor: a socket loop around the same token code, without HTTP worth the name.

    python -m bench.bare_loop PORT

It reads what arrives as one whole request and answers; whatever a real server costs beyond it is HTTP, routing and
order. It is for measuring and nothing else.
"""

from __future__ import annotations

import select
import socket
import sys

from tsa_core.api import RequestContext
from tsa_core.config import load_settings
from tsa_core.service import Service

_PING = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n."


def main() -> None:
    """Serve on 127.0.0.1 until the process is stopped."""
    listening = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512)
    poll = select.epoll()
    poll.register(listening.fileno(), select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    with Service(load_settings()) as service:
        respond, context = service.authority.respond, RequestContext()
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == listening.fileno():
                    connection, _ = listening.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connections[connection.fileno()] = connection
                    poll.register(connection.fileno(), select.EPOLLIN)
                    continue
                connection = connections[descriptor]
                try:
                    data = connection.recv(65536)
                    if data.startswith(b"GET"):
                        connection.send(_PING)
                        continue
                    if data:
                        reply = respond(data.partition(b"\r\n\r\n")[2], context).der
                        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)
                        continue
                except ConnectionError:
                    pass
                poll.unregister(descriptor)
                connections.pop(descriptor).close()


if __name__ == "__main__":
    main()
