"""granian with worker processes, on a socket that exists already. Imported only where granian is installed."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import Any

from granian._granian import SocketHolder
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.mp import MPServer

from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.settings import KEEP_LOGGING, http_options
from tsa_core.hosting.open_files import connection_limit

_BACKLOG = 1024
_MIN_SHUTDOWN_SECONDS = 1


class ForkingServer(MPServer):
    """Listens on a socket that was opened before the fork: connections in its backlog survive a worker's end."""

    def __init__(self, listening: socket.socket, **options: Any) -> None:
        super().__init__("tsa_core.wsgi:create_app", **options)
        self._listening = listening

    def _spawn_worker(self, *arguments: Any, **named: Any) -> Any:
        # The loader gets the worker's number, counted from 0. A worker that replaces another has the same number.
        named["callback_loader"] = partial(named["callback_loader"], named["idx"])
        return super()._spawn_worker(*arguments, **named)

    def _init_shared_socket(self) -> None:
        self._ssp = None
        self._sso = None
        held: Any = SocketHolder  # its annotations are wrong; it closes the descriptor that it gets
        self._shd = held(os.dup(self._listening.fileno()), self._listening.family == socket.AF_UNIX, _BACKLOG)


def forking_server(settings: ServerSettings, listening: socket.socket, *, threads: int) -> ForkingServer:
    """Return a server whose `serve()` forks `settings.workers` processes with `threads` threads each."""
    host, port = ("", 0) if listening.family == socket.AF_UNIX else listening.getsockname()[:2]
    return ForkingServer(
        listening,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=settings.workers,
        blocking_threads=threads,
        backpressure=max(connection_limit(settings), threads),
        respawn_failed_workers=True,
        workers_kill_timeout=max(_MIN_SHUTDOWN_SECONDS, int(settings.graceful_timeout.total_seconds())),
        log_level=LogLevels.warning,
        log_dictconfig=KEEP_LOGGING,
        websockets=False,
        **http_options(settings),
    )
