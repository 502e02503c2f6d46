"""What the client's transport does not do: HTTP/1.0, a second request on one connection, and a look at TLS."""

from __future__ import annotations

import http.client
import socket
import ssl
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

from cryptography import x509

from tsa_core import __version__
from tsa_core.client.answers import Answer
from tsa_core.client.connections import FinalAnswer, connect
from tsa_core.client.deadline import Deadline, hold
from tsa_core.client.failures import FAILURES, failure
from tsa_core.client.proxies import ProxyUnusable, basic, proxy_for
from tsa_core.client.transport import QUERY_TYPE, without_credentials
from tsa_core.paths.errors import printable
from tsa_core.paths.extensions import PARSING_ERRORS

_PORTS: Final = {"http": 80, "https": 443}
_SAFE: Final = "/%:@!$&'()*+,;=-._~"
_CHUNK: Final = 1 << 16
AGENT: Final = f"tsa-core/{__version__} probe"
"""So that an operator who looks at the log knows what it was."""


@dataclass(frozen=True, kw_only=True)
class TlsFacts:
    """What a handshake showed: the version and cipher that were agreed on, and the server's certificate.

    `old_version` is a version before TLS 1.2 that the server agreed to, empty when it refused them, and None when this
    machine's OpenSSL cannot offer them.
    """

    version: str
    cipher: str
    not_after: datetime | None
    old_version: str | None


def through_proxy(url: str) -> bool:
    """Say whether the environment sends this URL through a proxy, whose HTTP would be judged then."""
    try:
        return proxy_for(url) is not None
    except ProxyUnusable:
        return True


class Wire:
    """One connection straight to the server; `headers` are sent besides, and never to anybody else."""

    def __init__(self, url: str, context: ssl.SSLContext | None, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._shown = without_credentials(url)
        self._host = (parts.hostname or "").rstrip(".")
        self._port = parts.port or _PORTS[parts.scheme]
        self._target = quote(parts.path or "/", safe=_SAFE)
        if parts.query:
            self._target += f"?{quote(parts.query, safe=_SAFE + '?')}"
        self._authority = parts.netloc.rpartition("@")[2]
        self._headers = dict(headers)
        if authorization := basic(parts.netloc):
            self._headers["Authorization"] = authorization
        self._context = (context or ssl.create_default_context()) if parts.scheme == "https" else None
        self._socket: socket.socket | None = None

    def send(self, version: str, body: bytes, limit: Deadline, *, again: bool, max_octets: int) -> Answer | str:
        """Return the answer to a POST, or why there is none; with `again`, on the connection of the last one."""
        try:
            with limit.exchange():
                made = self._socket if again else None
                if made is not None:
                    hold(made)
                else:
                    self.close()
                    made = self._open(limit)
                return self._exchange(made, version, body, limit, max_octets)
        except FAILURES as error:
            self.close()
            if limit.over or isinstance(error, TimeoutError):
                return f"no complete answer within {limit.seconds:g} seconds"
            return failure(self._shown, error).text

    def _open(self, limit: Deadline) -> socket.socket:
        made = connect(self._host, self._port, limit)
        if self._context is not None:
            made = self._context.wrap_socket(made, server_hostname=self._host.partition("%")[0])
        self._socket = made
        return made

    def _exchange(
        self, made: socket.socket, version: str, body: bytes, limit: Deadline, max_octets: int
    ) -> Answer | str:
        made.settimeout(max(limit.remaining, 0.001))
        fields = {
            "Host": self._authority,
            "User-Agent": AGENT,
            "Content-Type": QUERY_TYPE,
            "Content-Length": str(len(body)),
            **self._headers,
        }
        lines = [f"POST {self._target} HTTP/{version}", *(f"{name}: {value}" for name, value in fields.items())]
        made.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        response = FinalAnswer(made, method="POST")
        try:
            response.begin()
            data = bytearray()
            while chunk := response.read1(_CHUNK):
                data += chunk
                if len(data) > max_octets:
                    self.close()
                    return f"the reply has more than {max_octets} bytes"
            # A connection that the deadline shut down looks like one that the server has closed.
            if limit.over:
                raise TimeoutError
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
            names = {name.title(): " ".join(value.split()) for name, value in response.headers.items()}
            answer = Answer(status=response.status, headers=names, body=bytes(data))
            if response.will_close:
                self.close()
            return answer
        finally:
            response.close()

    @property
    def is_open(self) -> bool:
        """Whether the server lets the connection be used again."""
        return self._socket is not None

    def tls(self) -> TlsFacts | None:
        """Return what the handshake of the open connection showed; None without TLS."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return None
        cipher = self._socket.cipher()
        ends = None
        with suppress(*PARSING_ERRORS):
            ends = x509.load_der_x509_certificate(self._socket.getpeercert(binary_form=True) or b"").not_valid_after_utc
        return TlsFacts(
            version=printable(self._socket.version() or "unknown"),
            cipher=printable(cipher[0]) if cipher else "unknown",
            not_after=ends,
            old_version=None,
        )

    def old_tls(self, limit: Deadline) -> str | None:
        """Return the version before TLS 1.2 that the server agrees to, empty for none, None when it cannot be tried."""
        context = _old_context()
        if context is None:
            return None
        try:
            with (
                limit.exchange(),
                connect(self._host, self._port, limit) as made,
                context.wrap_socket(made, server_hostname=self._host.partition("%")[0]) as secured,
            ):
                return printable(secured.version() or "")
        except FAILURES as error:
            # Our own OpenSSL says so before anything is sent when its build or policy has no such version.
            mine = isinstance(error, ssl.SSLError) and (error.reason or "").startswith("NO_PROTOCOLS")
            return None if mine or limit.over else ""

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _old_context() -> ssl.SSLContext | None:
    """Return a context for TLS 1.0 and 1.1 alone, which trusts nobody: only the handshake's version is looked at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    except (ssl.SSLError, ValueError):
        return None
    return context
