"""granian's embedded server on a socket that exists already. Imported only where granian is installed."""

from __future__ import annotations

import os
import socket
from typing import Any

from granian._granian import SocketHolder
from granian.constants import Interfaces, SSLProtocols
from granian.log import LogLevels
from granian.server.embed import Server

from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.rsgi import RsgiApplication
from tsa_core.hosting.granian.settings import KEEP_LOGGING, http_options
from tsa_core.hosting.open_files import connection_limit

_BACKLOG = 1024
_HAND_OVER_SECONDS = 0.5
"""How long the old TLS settings go on beside the new ones at a reload."""


class EmbeddedServer(Server):
    """Listens on a socket that was opened before the workers were forked, which granian itself cannot be told."""

    def __init__(self, listening: socket.socket, app: RsgiApplication, **options: Any) -> None:
        super().__init__(app, **options)
        self._listening = listening
        self.respawn_interval = _HAND_OVER_SECONDS

    def _init_shared_socket(self) -> None:
        self._ssp = None
        self._hold_socket()

    def _spawn_worker(self, *arguments: Any, **named: Any) -> Any:
        # What a worker is given it closes at its end, and at a reload old and new overlap.
        self._hold_socket()
        return super()._spawn_worker(*arguments, **named)

    def _hold_socket(self) -> None:
        held: Any = SocketHolder  # its types are not what it takes
        self._shd = held(os.dup(self._listening.fileno()), self._listening.family == socket.AF_UNIX, _BACKLOG)


def embedded_server(
    app: RsgiApplication, settings: ServerSettings, listening: socket.socket, *, tls: bool
) -> EmbeddedServer:
    """Return a server on `listening`; the caller runs its `serve()` in an event loop.

    HTTP/1 only, unless HTTP/2 is wanted: granian's time limit for a request's head begins with the connection there.
    """
    host, port = ("", 0) if listening.family == socket.AF_UNIX else listening.getsockname()[:2]
    files: dict[str, Any] = {}
    if tls:
        files = {
            "ssl_cert": settings.tls_certificate,
            "ssl_key": settings.tls_key,
            "ssl_protocol_min": SSLProtocols.tls12,
            "ssl_ca": settings.tls_ca,
            "ssl_client_verify": settings.tls_ca is not None,
        }
    return EmbeddedServer(
        listening,
        app,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        websockets=False,
        backpressure=connection_limit(settings),
        log_level=LogLevels.error,  # "Embedded server is experimental!" at every start tells an operator nothing
        log_dictconfig=KEEP_LOGGING,
        **http_options(settings),
        **files,
    )
