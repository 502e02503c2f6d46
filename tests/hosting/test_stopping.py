"""WaitressServer.stop, which may come from a signal handler or any thread, at any moment."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from tests.http_replies import next_reply, replies_on
from tests.serving import open_service
from tsa_core.hosting.sockets import listen
from tsa_core.hosting.waitress.server import WaitressServer
from tsa_core.http import create_app


def test_stop_at_any_moment_and_more_than_once() -> None:
    with open_service() as service:
        app = create_app(service)
        for _ in range(30):
            server = WaitressServer(app, service.settings.server, sockets=listen(service.settings.server))
            failures: list[BaseException] = []

            def stop(server: WaitressServer = server, failures: list[BaseException] = failures) -> None:
                try:
                    for _ in range(100):
                        server.stop()
                except BaseException as error:  # noqa: BLE001 - reported below, in the test's own thread
                    failures.append(error)

            stoppers = [threading.Thread(target=stop) for _ in range(3)]
            for stopper in stoppers:
                stopper.start()
            server.run()
            for stopper in stoppers:
                stopper.join(timeout=30)
            server.stop()
            assert failures == []


def test_what_arrives_in_the_last_turn_of_the_loop_is_answered() -> None:
    """From a client that was idle, and from one whose connection nobody has accepted yet."""
    meanwhile: list[Callable[[], None]] = []

    def app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        while meanwhile:
            meanwhile.pop()()
        start_response("200 OK", [("content-length", "2")])
        return [b"ok"]

    with open_service() as service, ExitStack() as stack:
        sockets = listen(service.settings.server)
        address = sockets[0].getsockname()
        server = WaitressServer(app, service.settings.server, sockets=sockets)
        thread = threading.Thread(target=server.run)
        thread.start()
        stack.callback(thread.join, 60)
        stack.callback(server.stop)

        def client() -> socket.socket:
            return stack.enter_context(socket.create_connection(address, timeout=60))

        def ask(connection: socket.socket) -> None:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

        idle, last = client(), client()
        ask(idle)
        assert next_reply(replies_on(idle)).status == 200
        late: list[socket.socket] = []

        def stop_after_more_has_come() -> None:
            late.append(client())
            for each in (idle, *late):
                ask(each)
            server.stop()

        meanwhile.append(stop_after_more_has_come)
        ask(last)
        assert next_reply(replies_on(last)).status == 200
        assert [next_reply(replies_on(each)).status for each in (idle, *late)] == [200, 200]
