"""Sending a request over HTTP: time limit, size limit, TLS, proxies and redirects."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urljoin, urlsplit, urlunsplit
from urllib.request import getproxies_environment, proxy_bypass

import urllib3
from urllib3 import exceptions
from urllib3.util import make_headers

from tsa_core.client.errors import ReplyTooLarge, RequestTimeout, TransportError, UnexpectedAnswer
from tsa_core.protocol.reply import MAX_REPLY_OCTETS
from tsa_core.verify.errors import printable

SIGSTORE_PATH: Final = "/api/v1/timestamp"
QUERY_TYPE: Final = "application/timestamp-query"
REPLY_TYPE: Final = "application/timestamp-reply"
MAX_REDIRECTS: Final = 3
_CHUNK: Final = 1 << 16
_SEND_AGAIN: Final = frozenset({307, 308})
_REDIRECTS: Final = frozenset({301, 302, 303})


def timestamp_url(url: str) -> str:
    """Return where to POST: a URL with a path as it is, one without a path with `/api/v1/timestamp` added.

    Raises TransportError for anything that is not an http or https URL with a host.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port)
    except ValueError:
        usable = False
    if not usable:
        raise TransportError(printable(url, 200), "it is not an http or https URL")
    if parts.path in {"", "/"}:
        parts = parts._replace(path=SIGSTORE_PATH)
    return urlunsplit(parts._replace(fragment=""))


def without_credentials(url: str) -> str:
    """Return the URL for messages: neither user nor password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class Transport:
    """POSTs requests and returns the bodies of the answers; keeps connections open and is safe to share.

    `timeout` is in seconds, for connecting and for the whole answer. Certificates of servers are verified with the
    system's roots, or as `ssl_context` says. HTTP_PROXY, HTTPS_PROXY and NO_PROXY are heeded. A redirect is
    followed only if it keeps the method (307, 308) and does not lead from https to http.
    """

    def __init__(
        self,
        *,
        timeout: float = 30.0,
        max_octets: int = MAX_REPLY_OCTETS,
        ssl_context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if timeout <= 0:
            raise ValueError("a timeout must be longer than nothing")
        self._timeout = timeout
        self._max_octets = max_octets
        self._ssl_context = ssl_context
        self._headers = dict(headers or {})
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def post(self, url: str, body: bytes) -> bytes:
        """Return the answer to a POST of a TimeStampReq; raises TransportError or one of its kinds."""
        headers = {"Content-Type": QUERY_TYPE, "Accept": REPLY_TYPE}
        return self._exchange("POST", url, body, headers, _SEND_AGAIN)

    def get(self, url: str) -> bytes:
        """Return what is at a URL; raises TransportError or one of its kinds."""
        return self._exchange("GET", url, None, {}, _SEND_AGAIN | _REDIRECTS)

    def _exchange(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str], followed: frozenset[int]
    ) -> bytes:
        deadline = time.monotonic() + self._timeout
        headers = {**headers, "User-Agent": _user_agent()}
        origin = _origin(url)
        for _ in range(MAX_REDIRECTS + 1):
            shown = without_credentials(url)
            # What the caller adds, a token for example, is for the server that the caller named and no other.
            own = self._headers if _origin(url) == origin else {}
            response = self._send(method, url, shown, body, {**headers, **own})
            try:
                data = self._read(response, shown, deadline)
                if response.status in followed:
                    url = _redirected(url, shown, response)
                    continue
            finally:
                response.release_conn()
            if response.status not in {200, 201}:
                _explain(shown, response, data)
            return data
        raise TransportError(without_credentials(url), f"more than {MAX_REDIRECTS} redirects")

    def close(self) -> None:
        """Close the connections that are kept open."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()

    def _send(
        self, method: str, url: str, shown: str, body: bytes | None, headers: dict[str, str]
    ) -> urllib3.BaseHTTPResponse:
        parts = urlsplit(url)
        if parts.username is not None:
            headers.update(make_headers(basic_auth=f"{parts.username}:{parts.password or ''}"))
        try:
            return self._pool(parts.scheme, parts.hostname or "").request(
                method,
                without_credentials(url),
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=self._timeout, read=self._timeout),
                redirect=False,
                retries=False,
                preload_content=False,
            )
        except exceptions.NewConnectionError as error:
            raise TransportError(shown, _reason(error)) from None  # urllib3 counts it among the timeouts
        except (exceptions.TimeoutError, TimeoutError):
            raise RequestTimeout(shown, f"no answer within {self._timeout:g} seconds") from None
        except (exceptions.HTTPError, OSError, ValueError) as error:
            raise TransportError(shown, _reason(error)) from None

    def _pool(self, scheme: str, host: str) -> urllib3.PoolManager:
        proxies = getproxies_environment()
        proxy = proxies.get(scheme) or proxies.get("all")
        if proxy is not None and proxy_bypass(host):
            proxy = None
        with self._lock:
            pool = self._pools.get(proxy or "")
            if pool is None:
                if proxy is None:
                    pool = urllib3.PoolManager(ssl_context=self._ssl_context, maxsize=16)
                else:
                    pool = urllib3.ProxyManager(proxy, ssl_context=self._ssl_context, maxsize=16)
                self._pools[proxy or ""] = pool
        return pool

    def _read(self, response: urllib3.BaseHTTPResponse, shown: str, deadline: float) -> bytes:
        data = b""
        try:
            while chunk := response.read1(_CHUNK):
                data += chunk
                if len(data) > self._max_octets:
                    response.close()
                    raise ReplyTooLarge(shown, f"the reply has more than {self._max_octets} bytes")
                if time.monotonic() > deadline:
                    response.close()
                    raise RequestTimeout(shown, f"the reply took longer than {self._timeout:g} seconds")
        except (exceptions.TimeoutError, TimeoutError):
            raise RequestTimeout(shown, f"no answer within {self._timeout:g} seconds") from None
        except (exceptions.HTTPError, OSError) as error:
            raise TransportError(shown, _reason(error)) from None
        return data


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _user_agent() -> str:
    from tsa_core import __version__

    return f"tsa-core/{__version__}"


def _redirected(url: str, shown: str, response: urllib3.BaseHTTPResponse) -> str:
    target = urljoin(url, response.headers.get("Location", ""))
    parts, origin = urlsplit(target), urlsplit(url)
    if parts.scheme not in {"http", "https"} or (origin.scheme == "https" and parts.scheme != "https"):
        raise TransportError(shown, f"it redirects to {printable(without_credentials(target), 200)!r}, not followed")
    if _origin(target) == _origin(url):
        parts = parts._replace(netloc=origin.netloc)  # credentials stay with the server that they are for
    return urlunsplit(parts)


def _explain(shown: str, response: urllib3.BaseHTTPResponse, data: bytes) -> None:
    """Raise UnexpectedAnswer, unless the body is a reply after all: some send rejections with a 4xx."""
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type == REPLY_TYPE and data:
        return
    text = f"HTTP status {response.status}"
    if response.status in _REDIRECTS:
        location = printable(without_credentials(response.headers.get("Location", "")), 200)
        raise UnexpectedAnswer(shown, response.status, f"{text}: it has moved to {location!r}; use that URL")
    if message := _message(data):
        text = f"{text}: {printable(message)}"
    raise UnexpectedAnswer(shown, response.status, text)


def _message(data: bytes) -> str:
    """Return the message of a JSON error as Sigstore's and this project's servers send it, else nothing."""
    try:
        parsed: Any = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    message = parsed.get("message") if isinstance(parsed, dict) else None
    return message if isinstance(message, str) else ""


def _reason(error: Exception) -> str:
    """Say in one line what went wrong, without the addresses of Python objects."""
    inner = getattr(error, "reason", None) or error.__cause__ or error
    if isinstance(inner, exceptions.NameResolutionError):
        return "the host name cannot be resolved"
    if isinstance(inner, exceptions.NewConnectionError | ConnectionRefusedError):
        return "the connection was refused or the host cannot be reached"
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {inner.verify_message}"
    return f"the request failed: {printable(str(inner), 200)}"
