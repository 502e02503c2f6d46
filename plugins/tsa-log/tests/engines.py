"""A small engine like a Tessera personality: `POST /add` answers an index, the rest are the log's files."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from tsa_core.api.transparency import Checkpoint, NoteSigner, SignedNote
from tsa_log.storage import LocalStorage
from tsa_log.tree import GrowingTree

from .logs import LOG_KEY, ORIGIN

Fault = Callable[["Handler", bytes], None]
"""What happens to one request instead of the usual."""


class FakeEngine:
    """Keeps a log in a folder and serves it. `faults` are taken by the next requests to add, one each."""

    def __init__(self, folder: Path, *, port: int = 0, finds_duplicates: bool = True) -> None:
        self.folder = folder
        self.signers: list[NoteSigner] = [LOG_KEY]
        self.faults: list[Fault] = []
        self.posted: list[bytes] = []
        self.headers: list[str | None] = []
        self.absent = 404
        """The status for a file that is not there."""
        self.port = port
        self._finds_duplicates = finds_duplicates
        self._indexes: dict[bytes, int] = {}
        self._lock = threading.Lock()
        self._storage = LocalStorage(folder)
        self._tree = GrowingTree(self._storage, 0, b"")
        self.publish()

    def add(self, entry: bytes) -> int:
        """Enter an entry, and publish the tree with it."""
        with self._lock:
            if self._finds_duplicates and entry in self._indexes:
                return self._indexes[entry]
            self._indexes[entry] = self._tree.size
            self._storage.write_all(self._tree.add([entry]))
            self.publish()
            return self._tree.size - 1

    def fill(self, entries: list[bytes]) -> None:
        """Enter what other machines posted."""
        self._storage.write_all(self._tree.add(entries))
        self.publish()

    def publish(self) -> None:
        """Sign the tree as it is."""
        checkpoint = Checkpoint(ORIGIN, self._tree.size, self._tree.root)
        lines = [signer.sign(checkpoint, seconds=1_800_000_000) for signer in self.signers]
        self._storage.write("checkpoint", SignedNote(checkpoint.text, tuple(lines)).encode())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Serve, at the same port as before if it served before."""
        self._server = EngineServer(self)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Serve no more: connections are refused."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.stop()


class EngineServer(ThreadingHTTPServer):
    """Serves one engine."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        super().__init__(("127.0.0.1", engine.port), partial(Handler, directory=str(engine.folder)))


class Handler(SimpleHTTPRequestHandler):
    """Each request has a connection of its own, so that a stopped engine answers nobody."""

    server: EngineServer

    @property
    def engine(self) -> FakeEngine:
        return self.server.engine

    def do_POST(self) -> None:
        entry = self.rfile.read(int(self.headers["Content-Length"]))
        self.engine.headers.append(self.headers["Authorization"])
        self.engine.posted.append(entry)
        if self.path != "/add":
            self.send_error(404)
        elif self.engine.faults:
            self.engine.faults.pop(0)(self, entry)
        else:
            self.answer(str(self.engine.add(entry)).encode())

    def answer(self, body: bytes, *, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        super().send_error(self.engine.absent if code == 404 else code, message, explain)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def says(body: bytes, *, status: int = 200, **headers: str) -> Fault:
    """Answer this, and enter nothing."""
    return lambda handler, _: handler.answer(body, status=status, **headers)


def loses_the_answer(handler: Handler, entry: bytes) -> None:
    """Enter the entry, and close the connection without a word."""
    handler.engine.add(entry)
    handler.close_connection = True
