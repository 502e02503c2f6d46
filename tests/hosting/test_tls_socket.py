"""TLS on waitress's loop: to the loop, a connection over TLS ends as a plain one does."""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.tls_material import TlsMaterial
from tsa_core.hosting.waitress.tls import TlsSocket


def test_a_client_that_goes_before_it_has_read_its_reply_is_no_error_of_openssl(tmp_path: Path) -> None:
    """waitress logs a traceback for an error that is not the end of a connection."""
    material = TlsMaterial(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*material.write("server"))
    context.sslsocket_class = TlsSocket
    trusting = ssl.create_default_context(cafile=str(material.ca))
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        plain = socket.create_connection(listener.getsockname(), timeout=60)
        shaken = pool.submit(trusting.wrap_socket, plain, server_hostname="127.0.0.1")
        accepted, _ = listener.accept()
        accepted.settimeout(60)
        with closing(context.wrap_socket(accepted, server_side=True)) as connection:
            connection.setblocking(False)
            with closing(shaken.result(60)), pytest.raises(BlockingIOError):
                send_on(connection)
            with pytest.raises(ConnectionResetError):
                send_on(connection)


def send_on(connection: socket.socket) -> None:
    while connection.send(bytes(1 << 20)):
        pass
