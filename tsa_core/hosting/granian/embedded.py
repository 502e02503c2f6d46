"""granian's embedded server on a socket that exists already. Imported only where it listens."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from granian._granian import SocketHolder
from granian.constants import Interfaces, SSLProtocols
from granian.log import LogLevels
from granian.server.embed import Server

from tsa_core.api import ConfigError
from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.rsgi import RsgiApplication
from tsa_core.hosting.granian.settings import KEEP_LOGGING, http_options
from tsa_core.hosting.open_files import accept_limit

_BACKLOG = 1024
_OVERLAP_SECONDS = 0.5
"""How long the old worker, with the old TLS settings, still runs beside the new one at a reload."""


class EmbeddedServer(Server):
    """Listens on a socket that was opened before the workers were forked; granian has no option for that."""

    def __init__(self, listening: socket.socket, app: RsgiApplication, **options: Any) -> None:
        super().__init__(app, **options)
        self._listening = listening
        self.respawn_interval = _OVERLAP_SECONDS

    def keep_names_of_tls_files(self, settings: ServerSettings) -> None:
        """Read the TLS files at a reload where the settings name them.

        granian follows symbolic links once, and ends the process when their target is gone: Kubernetes removes it when
        it exchanges a secret.
        """
        files = (settings.tls_certificate, settings.tls_key, settings.tls_ca)
        certificate, key, ca = (str(path.absolute()) if path else None for path in files)
        on, _, _, password, protocol, _, *others = self.ssl_ctx
        named: Any = (on, certificate, key, password, protocol, ca, *others)  # its annotations are wrong
        self.ssl_ctx = named

    def _init_shared_socket(self) -> None:
        self._ssp = None
        self._hold_socket()

    def _spawn_worker(self, *arguments: Any, **named: Any) -> Any:
        # A worker closes its socket when it ends, and at a reload the old and the new worker overlap.
        self._hold_socket()
        return super()._spawn_worker(*arguments, **named)

    def _hold_socket(self) -> None:
        held: Any = SocketHolder  # its annotations are wrong
        self._shd = held(os.dup(self._listening.fileno()), self._listening.family == socket.AF_UNIX, _BACKLOG)


def embedded_server(
    app: RsgiApplication, settings: ServerSettings, listening: socket.socket, *, tls: bool
) -> EmbeddedServer:
    """Return a server on `listening`; the caller runs its `serve()` in an event loop.

    HTTP/1 only, unless the setting `http2` is on. Raises ConfigError where the working directory has been removed:
    granian asks for it.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise ConfigError("the working directory has been removed; start the server in another one") from None
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
    server = EmbeddedServer(
        listening,
        app,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        websockets=False,
        backpressure=accept_limit(settings),
        log_level=LogLevels.error,  # else "Embedded server is experimental!" at every start
        log_dictconfig=KEEP_LOGGING,
        **http_options(settings),
        **files,
    )
    if tls:
        server.keep_names_of_tls_files(settings)
    return server
