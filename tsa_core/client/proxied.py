"""Exchanges through a proxy: urllib3, which knows how to tunnel TLS in TLS, with the deadline over all of it."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import urllib3
from urllib3 import connection, exceptions

from tsa_core.client import deadline
from tsa_core.client.connections import ConnectTimeout, FinalAnswer, HeadersContradict, connect
from tsa_core.client.deadline import Deadline
from tsa_core.client.failures import Wrapped
from tsa_core.client.proxies import Proxy


class ProxiedConnections:
    """Connections through a proxy; without one, as `DirectConnections`, which the tests compare with it.

    `context` is for the servers, `proxy_context` for a proxy that is itself spoken to over TLS.
    """

    def __init__(
        self, proxy: Proxy | None, context: ssl.SSLContext | None, proxy_context: ssl.SSLContext | None
    ) -> None:
        if proxy is None:
            self._pool = urllib3.PoolManager(ssl_context=context, maxsize=16)
        else:
            # For https these go with CONNECT only.
            headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            self._pool = urllib3.ProxyManager(
                proxy.url, proxy_headers=headers, proxy_ssl_context=proxy_context, ssl_context=context, maxsize=16
            )
        self._pool.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], limit: Deadline
    ) -> _ProxiedAnswer:
        """Send a request and return the beginning of its answer."""
        with _translated():
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=limit.remaining or 0.001, read=limit.remaining or 0.001),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        return _ProxiedAnswer(response)

    def clear(self) -> None:
        """Close the connections that nobody uses."""
        self._pool.clear()


class _ProxiedAnswer:
    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = {name.title(): value for name, value in response.headers.items()}

    def read1(self, size: int) -> bytes:
        with _translated():
            return self._response.read1(size)

    def finish(self, *, whole: bool) -> None:
        if not whole or not getattr(self._response, "closed", True):
            self._response.close()  # with an answer half read, the connection is of no more use
        self._response.release_conn()


@contextmanager
def _translated() -> Iterator[None]:
    """Raise what DirectConnections would raise; else Wrapped, with what urllib3 raised."""
    try:
        yield
    except exceptions.ReadTimeoutError as error:
        raise TimeoutError(str(error)) from error
    except exceptions.InvalidHeader as error:
        raise HeadersContradict(str(error)) from error
    except exceptions.LocationParseError as error:
        raise http.client.InvalidURL(str(error)) from error
    except exceptions.HTTPError as error:
        if type(error) is exceptions.ConnectTimeoutError:
            raise ConnectTimeout(str(error)) from error
        raise Wrapped(error, by_proxy=isinstance(error, exceptions.ProxyError)) from error


class _GuardedConnection(connection.HTTPConnection):
    """A connection that the deadline of the thread's exchange shuts down."""

    response_class = FinalAnswer

    def _new_conn(self) -> socket.socket:
        try:
            return connect(self._dns_host.strip("[]"), self.port, deadline.current())
        except socket.gaierror as error:
            raise exceptions.NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise exceptions.ConnectTimeoutError(self, str(error)) from error
        except OSError as error:
            raise exceptions.NewConnectionError(self, str(error)) from error

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request; a connection that was kept from an earlier exchange is guarded by this one."""
        if self.sock is not None:
            deadline.hold(self.sock)
        super().request(*args, **kwargs)


class _GuardedTlsConnection(_GuardedConnection, connection.HTTPSConnection):
    """The same with TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _GuardedConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _GuardedTlsConnection
