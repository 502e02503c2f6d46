"""WaitressServer.stop, which may come from a signal handler or any thread, at any moment."""

from __future__ import annotations

import threading

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
