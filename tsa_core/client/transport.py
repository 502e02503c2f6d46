"""Sending a request over HTTP: one deadline over all of it, a size limit, TLS, proxies, redirects and retries."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

from tsa_core.client.answers import Answer
from tsa_core.client.connections import Connections, ConnectTimeout, DirectConnections, Received
from tsa_core.client.deadline import Deadline
from tsa_core.client.errors import ConnectionFailed, ReplyTooLarge, RequestTimeout, TransportError, UnexpectedAnswer
from tsa_core.client.failures import FAILURES, failure
from tsa_core.client.proxies import Proxy, ProxyUnusable, basic, proxy_for
from tsa_core.client.tls import Tls
from tsa_core.protocol.reply import MAX_REPLY_OCTETS
from tsa_core.values import Value
from tsa_core.verify.errors import printable

SIGSTORE_PATH: Final = "/api/v1/timestamp"
QUERY_TYPE: Final = "application/timestamp-query"
REPLY_TYPE: Final = "application/timestamp-reply"
MAX_REDIRECTS: Final = 3
MAX_ERROR_OCTETS: Final = 1 << 16
"""How much of an error page is read; the rest would not be shown."""
_CHUNK: Final = 1 << 16
_FIRST_PAUSE: Final = 0.5
_GOOD: Final = frozenset({200, 201})
_SEND_AGAIN: Final = frozenset({307, 308})
_REDIRECTS: Final = frozenset({301, 302, 303})
_TEMPORARY: Final = frozenset({429, 502, 503, 504})
_PORTS: Final = {"http": 80, "https": 443}

_Pools = dict[tuple[str, bool], Connections]


def timestamp_url(url: str) -> str:
    """Return where to POST: a URL with a path as it is, one without a path with `/api/v1/timestamp` added.

    Raises TransportError for anything that is not an http or https URL with a host.
    """
    if not is_web_address(url):
        raise TransportError(printable(url.rpartition("@")[2], 200), "it is not an http or https URL")
    parts = urlsplit(url)
    if parts.path in {"", "/"}:
        parts = parts._replace(path=SIGSTORE_PATH)
    return urlunsplit(parts._replace(fragment=""))


def without_credentials(url: str) -> str:
    """Return a usable URL for messages: neither user nor password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a usable URL: two URLs with the same ones lead to the same server."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS[parts.scheme]


class Query(Value):
    """A request: `followed` are the statuses whose Location it is sent to."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    followed: frozenset[int] = _SEND_AGAIN


class Transport:
    """POSTs requests and returns the bodies of the answers; keeps connections open and is safe to share.

    `timeout` is in seconds and a deadline over everything: resolving, connecting, TLS, proxies, redirects, pauses
    and the whole answer. Certificates of servers are verified with the system's authorities, or as `tls` says.
    HTTP_PROXY, HTTPS_PROXY and NO_PROXY are heeded. A redirect is followed only if it keeps the method (307, 308)
    and does not lead from https to http. `headers`, called for each exchange, and the client certificate go only to
    the server that the caller named. `retries` is how often an exchange is repeated after a failure that may pass.
    """

    def __init__(
        self,
        *,
        timeout: float = 30.0,
        max_octets: int = MAX_REPLY_OCTETS,
        tls: Tls | None = None,
        headers: Callable[[], Mapping[str, str]] = dict,
        retries: int = 0,
    ) -> None:
        self._timeout = timeout
        self._max_octets = max_octets
        self._tls = tls or Tls(named=None, others=None)
        self._headers = headers
        self._retries = retries
        self._pools: _Pools = {}
        self._lock = threading.Lock()

    def post(self, url: str, body: bytes, *, deadline: Deadline | None = None) -> bytes:
        """Return the reply to a POST of a TimeStampReq; raises TransportError or one of its kinds.

        `deadline` takes the place of the transport's own timeout.
        """
        headers = {"Content-Type": QUERY_TYPE, "Accept": REPLY_TYPE}
        query = Query(method="POST", url=url, headers=headers, body=body)
        if deadline is None:
            with Deadline(self._timeout) as own:
                answer = self.exchange(query, own)
        else:
            answer = self.exchange(query, deadline)
        if not answer.is_reply:
            raise _unexpected(without_credentials(url), answer)
        return answer.body

    def exchange(self, query: Query, deadline: Deadline) -> Answer:
        """Return the answer to a query, whatever its status is; raises TransportError or one of its kinds."""
        pause = _FIRST_PAUSE
        for left in range(self._retries, -1, -1):
            try:
                answer = self._follow(query, deadline)
            except ConnectionFailed:
                if not left or not _fits(pause, deadline):
                    raise
                wait = pause
            else:
                if answer.status not in _TEMPORARY or answer.is_reply or not left:
                    return answer
                wait = pause if answer.retry_after is None else answer.retry_after
                if not _fits(wait, deadline):
                    return answer
            deadline.wait(wait)
            pause *= 2
        raise AssertionError("unreachable: the last attempt returns or raises")

    def close(self) -> None:
        """Close the connections that are kept open."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()

    def _follow(self, query: Query, deadline: Deadline) -> Answer:
        url, home = query.url, origin(query.url)
        own = self._headers()
        for _ in range(MAX_REDIRECTS + 1):
            # What the caller adds, a token for example, is for the server that the caller named and no other.
            named = origin(url) == home
            headers = {"Accept-Encoding": "identity", "User-Agent": _user_agent(), **query.headers}
            answer = self._send(query, url, {**headers, **own} if named else headers, named, deadline)
            if answer.status not in query.followed:
                return answer
            url = _redirected(url, without_credentials(url), answer.headers.get("Location", ""))
        raise TransportError(without_credentials(url), f"more than {MAX_REDIRECTS} redirects")

    def _send(self, query: Query, url: str, headers: dict[str, str], named: bool, deadline: Deadline) -> Answer:
        shown = without_credentials(url)
        try:
            proxy = proxy_for(url)
        except ProxyUnusable as error:
            raise TransportError(shown, str(error)) from None
        if authorization := basic(urlsplit(url).netloc):
            headers["Authorization"] = authorization
        try:
            with deadline.exchange():
                return self._once(query, shown, headers, self._pool(proxy, named), deadline)
        except FAILURES as error:
            if not deadline.over and isinstance(error, ConnectTimeout):
                problem: TransportError = ConnectionFailed(shown, "the host does not take connections")
            elif deadline.over or isinstance(error, TimeoutError):
                problem = RequestTimeout(shown, f"no complete answer within {deadline.seconds:g} seconds")
            else:
                problem = failure(shown, error)
            # What was caught refers to the frames that it went through, and they to sockets and header fields.
            from traceback import clear_frames

            clear_frames(error.__traceback__)
        raise problem

    def _once(
        self, query: Query, shown: str, headers: dict[str, str], connections: Connections, deadline: Deadline
    ) -> Answer:
        if deadline.over:
            raise TimeoutError
        response = connections.send(query.method, shown, query.body, headers, deadline)
        whole = False
        try:
            body = self._read(response, shown) if response.status in _GOOD else _beginning(response)
            # A connection that the deadline shut down looks like one that the server has closed.
            if deadline.over:
                raise TimeoutError
            whole = True
        finally:
            response.finish(whole=whole)
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            how = f"its answer is encoded as {printable(encoding, 40)}, which it was asked not to do"
            raise UnexpectedAnswer(shown, response.status, f"HTTP status {response.status}: {how}")
        return Answer(status=response.status, headers=response.headers, body=body)

    def _pool(self, proxy: Proxy | None, named: bool) -> Connections:
        context = self._tls.named if named else self._tls.others
        key = ("" if proxy is None else f"{proxy.authorization} {proxy.url}", named)
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = _connections(proxy, context, self._tls.others)
        return pool

    def _read(self, response: Received, shown: str) -> bytes:
        text = f"the reply has more than {self._max_octets} bytes"
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and len(announced) < 20 and int(announced) > self._max_octets:
            raise ReplyTooLarge(shown, text)
        data = bytearray()
        while chunk := response.read1(_CHUNK):
            data += chunk
            if len(data) > self._max_octets:
                raise ReplyTooLarge(shown, text)
        return bytes(data)


def fetch(
    url: str,
    *,
    deadline: Deadline,
    max_octets: int,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    tls: Tls | None = None,
) -> bytes:
    """Return what an http or https URL holds, or answers to `body`, of at most `max_octets` bytes.

    Without a body it is a GET that follows every redirect; with one a POST that follows 307 and 308. The deadline,
    which several fetches may share, bounds all of it. Raises TransportError or one of its kinds.

    with Deadline(10) as deadline:
        crl = fetch("http://crl.example.org/ca.crl", deadline=deadline, max_octets=32 << 20)
    """
    if not is_web_address(url):
        raise TransportError(printable(url.rpartition("@")[2], 200), "it is not an http or https URL")
    query = Query(
        method="GET" if body is None else "POST",
        url=url,
        headers=dict(headers or {}),
        body=body,
        followed=_SEND_AGAIN | (_REDIRECTS if body is None else frozenset()),
    )
    transport = Transport(max_octets=max_octets, tls=tls)
    try:
        answer = transport.exchange(query, deadline)
    finally:
        transport.close()
    if answer.status not in _GOOD:
        raise _unexpected(without_credentials(url), answer)
    return answer.body


def is_web_address(url: str) -> bool:
    """Return whether it is an http or https URL with a host and nothing that a request line must not hold."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = not any(c.isspace() or not c.isprintable() for c in url)
    return parts.scheme in _PORTS and bool(parts.hostname) and port != 0 and plain


def _fits(pause: float, deadline: Deadline) -> bool:
    """Return whether there is time for a pause and something after it."""
    return pause < deadline.remaining


def _connections(
    proxy: Proxy | None, context: ssl.SSLContext | None, proxy_context: ssl.SSLContext | None
) -> Connections:
    if proxy is None:
        return DirectConnections(context)
    # Not at the top: it imports urllib3, which takes half as long as all the rest of a command.
    from tsa_core.client.proxied import ProxiedConnections

    return ProxiedConnections(proxy, context, proxy_context)


def _beginning(response: Received) -> bytes:
    """Return as much of an error's body as is looked at; one that breaks off says what it says."""
    data = bytearray()
    with suppress(*FAILURES):
        while len(data) < MAX_ERROR_OCTETS and (chunk := response.read1(_CHUNK)):
            data += chunk
    return bytes(data[:MAX_ERROR_OCTETS])


def _user_agent() -> str:
    from tsa_core import __version__

    return f"tsa-core/{__version__}"


def _redirected(url: str, shown: str, location: str) -> str:
    if not location:
        raise TransportError(shown, "it redirects without saying where to")
    try:
        target = urljoin(url, location)
        usable = is_web_address(target)
    except ValueError:
        target, usable = location, False
    if not usable or (urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https"):
        place = printable(target.rpartition("@")[2], 200)
        raise TransportError(shown, f"it redirects to {place!r}, which is not followed")
    parts = urlsplit(target)
    if origin(target) == origin(url):
        return urlunsplit(parts._replace(netloc=urlsplit(url).netloc))  # credentials stay with the server they are for
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _unexpected(shown: str, answer: Answer) -> UnexpectedAnswer:
    text = answer.explanation()
    if answer.status in _REDIRECTS:
        location = printable(answer.headers.get("Location", "").rpartition("@")[2], 200)
        text = f"HTTP status {answer.status}: it has moved to {location!r}; use that URL"
    elif answer.status == 407:
        text += "; the proxy wants credentials: write them into its URL, http://user:password@proxy:port"
    return UnexpectedAnswer(shown, answer.status, text, answer.retry_after)
