"""TLS on waitress's loop, by Python's ssl, where guards are to learn the certificates of clients.

granian checks clients' certificates, but does not say whose they are. So with `tls_ca` and guards, waitress's loop does
TLS (decision 228): HTTP/1.1, and every client shows a certificate. With TLS 1.3 each handshake is a full one. A client
of TLS 1.2 may resume a session by its identifier for two hours, or until the next reload: OpenSSL keeps these sessions,
and Python cannot tell it not to. The guards get the certificate of that session.

A connection reads and writes through TlsSocket, which behaves as a plain non-blocking socket does. Its handshake goes
on whenever there is something to read, and has to be complete within `read_timeout`.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from contextlib import suppress
from typing import Any

from tsa_core.config import ServerSettings
from tsa_core.hosting.waitress.channel import Channel
from tsa_core.hosting.waitress.request import Task
from tsa_core.http.guarding import CLIENT_CERTIFICATE

log = logging.getLogger(__name__)

_RECORD_OCTETS = 16_384
"""The most that one record of TLS holds. OpenSSL wants a write that it could not end again, and no shorter one."""


def _would_block() -> BlockingIOError:
    return BlockingIOError(errno.EWOULDBLOCK, "TLS waits for the client")


def tls_context(settings: ServerSettings) -> ssl.SSLContext:
    """Return the context of a listener that demands certificates; `check_tls_files` has seen the files."""
    assert settings.tls_certificate is not None  # noqa: S101 - ServerSettings demands them beside the scheme
    assert settings.tls_ca is not None  # noqa: S101 - without it granian does TLS
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A session that is resumed skips the check of the certificate; a renegotiation costs only the server.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    context.load_verify_locations(settings.tls_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.sslsocket_class = TlsSocket
    return context


class TlsSocket(ssl.SSLSocket):
    """A server's end of a connection; raises BlockingIOError where a plain socket would, other OSErrors at the end."""

    wants_write = False
    """Whether the handshake waits for room to write."""

    def go_on(self) -> None:
        """Go on with the handshake; raises BlockingIOError while the client has to answer."""
        self.wants_write = False
        try:
            self.do_handshake()
        except ssl.SSLWantReadError:
            raise _would_block() from None
        except ssl.SSLWantWriteError:
            self.wants_write = True
            raise _would_block() from None

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return what has arrived: the whole of a record, since the rest of one would not wake the loop."""
        try:
            data = super().recv(buflen, flags)
            while data and (left := self.pending()):
                data += super().recv(left)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise _would_block() from None
        return data

    def send(self, data: Any, flags: int = 0) -> int:
        """Send the begin of the data; returns how much."""
        try:
            return super().send(memoryview(data)[:_RECORD_OCTETS], flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise _would_block() from None
        except ssl.SSLError as error:  # whose numbers are OpenSSL's; waitress would log a client that has gone
            raise ConnectionResetError(errno.ECONNRESET, str(error)) from None

    def close(self) -> None:
        """Tell the client that this is the end (close_notify), as far as that goes at once, and close."""
        with suppress(OSError, ValueError):
            self.unwrap()
        super().close()


class TlsTask(Task):
    """A task whose environ has the client's certificate."""

    def get_environment(self) -> dict[str, Any]:
        """Return the WSGI environ."""
        environ = super().get_environment()
        environ[CLIENT_CERTIFICATE] = self.channel.certificate
        return environ


class TlsChannel(Channel):
    """A connection over TLS."""

    task_class = TlsTask
    handshaking = True
    socket: TlsSocket
    certificate = b""
    """The client's certificate in DER, once the handshake is complete."""

    def handle_read(self) -> None:
        """Go on with the handshake, or read what has arrived."""
        if self.handshaking and not self._shakes_hands():
            return
        super().handle_read()

    def writable(self) -> bool:
        """Say whether there is something to send, or to end."""
        return self.socket.wants_write or super().writable()

    def handle_write(self) -> None:
        """Send what there is; a handshake that has idled too long is not gone on with, but ended."""
        if self.handshaking and not self.will_close:
            self._shakes_hands()
        else:
            super().handle_write()

    def _shakes_hands(self) -> bool:
        """Go on with the handshake; returns whether it is complete. One that fails ends the connection."""
        try:
            self.socket.go_on()
        except BlockingIOError:
            return False
        except OSError as error:
            log.debug("the TLS handshake with %s failed: %s", self.addr[0], error)
            self.handle_close()
            return False
        self.handshaking = False
        self.certificate = self.socket.getpeercert(binary_form=True) or b""
        return True


def open_channel(server: Any, accepted: socket.socket, address: Any, adj: Any, map: Any = None) -> None:  # noqa: A002 - waitress's
    """Begin TLS on a connection that was accepted; one that its client has given up is closed."""
    try:
        wrapped = server.tls.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
    except OSError:
        accepted.close()
        return
    TlsChannel(server, wrapped, address, adj, map=map)
