"""A timestamp authority in the test process: any function from a request's bytes to an answer, behind HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

REPLY_TYPE = "application/timestamp-reply"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer; `wait` is waited for before the body is sent."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": REPLY_TYPE})
    wait: threading.Event | None = None


@dataclass(frozen=True, kw_only=True)
class Received:
    """A request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class HttpTsa:
    """Serves on a free port of 127.0.0.1 while it is entered; `answer` may be replaced at any time."""

    def __init__(self, answer: Callable[[bytes], Answer]) -> None:
        self.answer = answer
        self.received: list[Received] = []
        tsa = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                tsa.received.append(Received(path=self.path, headers=dict(self.headers.items()), body=body))
                answer = tsa.answer(body)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if answer.wait is not None:
                    answer.wait.wait()
                try:
                    self.wfile.write(answer.body)
                except ConnectionError:
                    self.close_connection = True  # the client has seen enough, which is what some tests are about

            do_GET = do_POST  # noqa: N815 - http.server looks for this name

            def log_message(self, *_: object) -> None:
                """Say nothing; `received` has it all."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """Say nothing of clients that went away."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def origin(self) -> str:
        """The URL without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """A URL with a path, as any authority has one."""
        return f"{self.origin}/tsa"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
