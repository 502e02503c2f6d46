"""Sampling profiles on request: a separate listener on loopback samples the stacks of all threads.

`/debug/pprof/profile?seconds=5` answers with one line per stack and its number of samples, the format that flame graph
tools read. `/debug/pprof/threads` answers with the current stack of each thread. Nothing is sampled without a request.
With several workers, the one that accepts the connection answers for itself, and the reply has its process id.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import FrameType
from urllib.parse import parse_qs, urlsplit

from tsa_core.api import cannot_listen

_HOST = "127.0.0.1"
_PERIOD_SECONDS = 0.01
_DEFAULT_SECONDS = 5.0
_MAX_SECONDS = 60.0
_CLIENT_SECONDS = 10.0
_LOCAL_NAMES = frozenset({"127.0.0.1", "localhost"})
_INDEX = """\
Profiles of process {pid}

/debug/pprof/profile?seconds=5   stacks of all threads, sampled 100 times a second, in the format of flame graph tools
/debug/pprof/threads             what each thread does now
"""


def listen_for_profiling(port: int) -> socket.socket:
    """Return the listening socket, to be opened before workers are forked; raises ConfigError."""
    new = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        new.bind((_HOST, port))
        new.listen(8)
    except OSError as error:
        new.close()
        raise cannot_listen(
            f"the profiling listener cannot have {_HOST}:{port}: {error.strerror}; choose another profiling_port",
            error,
            path="server.profiling",
        ) from None
    return new


def serve_profiling(listening: socket.socket) -> HTTPServer:
    """Answer on `listening` in a thread of its own until `shutdown` of what is returned, or the process's end."""
    server = HTTPServer((_HOST, 0), _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    # Several workers wait for the same socket: the one that comes second must not block in accept.
    listening.setblocking(False)
    threading.Thread(target=server.serve_forever, name="profiling", daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    timeout = _CLIENT_SECONDS

    def do_GET(self) -> None:
        """Answer, if the Host header names this machine: so no web page can read the reply (DNS rebinding)."""
        self.connection.settimeout(_CLIENT_SECONDS)
        if (self.headers.get("Host") or "").rpartition(":")[0] not in _LOCAL_NAMES:
            self._send(403, "ask for 127.0.0.1 or localhost\n")
            return
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path.rstrip("/") in {"/debug", "/debug/pprof"}:
            self._send(200, _INDEX.format(pid=os.getpid()))
        elif url.path == "/debug/pprof/threads":
            self._send(200, describe_threads())
        elif url.path == "/debug/pprof/profile":
            self._profile(query)
        else:
            self._send(404, _INDEX.format(pid=os.getpid()))

    def _profile(self, query: Mapping[str, str]) -> None:
        try:
            seconds = float(query.get("seconds", _DEFAULT_SECONDS))
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= _MAX_SECONDS:
            self._send(400, f"seconds is a number above 0, {_MAX_SECONDS:g} at most\n")
            return
        stacks = sample(seconds)
        self._send(200, "".join(f"{stack} {count}\n" for stack, count in sorted(stacks.items())))

    def _send(self, status: int, text: str) -> None:
        body = text.encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Process-Id", str(os.getpid()))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the library's
        """Log nothing: the access log is for timestamps."""


def sample(seconds: float) -> Counter[str]:
    """Return how often each stack was seen in `seconds`: `thread;outermost;...;innermost`."""
    counts: Counter[str] = Counter()
    own = threading.get_ident()
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < deadline:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for identity, frame in sys._current_frames().items():
            if identity != own:
                counts[f"{_word(names.get(identity) or str(identity))};{_stack(frame)}"] += 1
        pause.wait(_PERIOD_SECONDS)
    return counts


def _stack(frame: FrameType | None) -> str:
    parts: list[str] = []
    while frame is not None:
        code = frame.f_code
        parts.append(_word(f"{frame.f_globals.get('__name__', '?')}.{code.co_qualname}:{frame.f_lineno}"))
        frame = frame.f_back
    return ";".join(reversed(parts))


def _word(text: str) -> str:
    """Return a name without the characters that separate names and counts."""
    return text.replace(";", ",").replace(" ", "_").replace("\n", "_")


def describe_threads() -> str:
    """Return the current stack of each thread, formatted as in a traceback."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = [f"process {os.getpid()}\n"]
    for identity, frame in sys._current_frames().items():
        lines.append(f"\nthread {names.get(identity, identity)}\n")
        lines += traceback.format_stack(frame)
    return "".join(lines)
