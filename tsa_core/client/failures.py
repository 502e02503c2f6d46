"""Why an exchange over HTTP failed: one line for people, and the kind of error that a program sees."""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

from tsa_core.client.connections import CannotConnect, HeadersContradict
from tsa_core.client.errors import ConnectionFailed, ServerNotTrusted, TransportError
from tsa_core.verify.errors import printable


class Wrapped(Exception):
    """What urllib3 raised in an exchange through a proxy; `by_proxy` when the proxy itself is to blame."""

    def __init__(self, error: Exception, *, by_proxy: bool) -> None:
        super().__init__(error)
        self.by_proxy = by_proxy


FAILURES: Final = (Wrapped, http.client.HTTPException, OSError, ValueError)
"""What is raised for a server that does not answer as it should."""

_EXPIRED, _NOT_YET = 10, 9
_UNKNOWN_CA: Final = frozenset({2, 18, 19, 20, 21})
_OTHER_NAME: Final = frozenset({62, 64})
_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3})(.{0,100})")


def failure(shown: str, error: BaseException) -> TransportError:
    """Return the error to raise for what was caught; `shown` is the URL without credentials."""
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return ServerNotTrusted(shown, _untrusted(one))
    for one in chain:
        if isinstance(one, ssl.SSLError):
            return TransportError(shown, _tls(one))
    for one in chain:
        if isinstance(one, OSError) and (refused := _TUNNEL.search(str(one))):
            return TransportError(shown, _tunnel(int(refused[1]), refused[2]))
    where = "the proxy: " if any(isinstance(one, Wrapped) and one.by_proxy for one in chain) else ""
    for one in reversed(chain):
        if text := _network(one):
            return ConnectionFailed(shown, where + text)
    for one in chain:
        if text := _http(one):
            return TransportError(shown, where + text)
    return TransportError(shown, f"{where}the request failed: {printable(str(chain[-1]), 200)}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it wraps, in urllib3's ways of doing so as well as Python's."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < 20:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [getattr(one, "reason", None), getattr(one, "original_error", None), one.__cause__, *one.args]
        waiting.extend(candidate for candidate in inner if isinstance(candidate, BaseException))


def _untrusted(error: ssl.SSLCertVerificationError) -> str:
    text = "the server's certificate is not trusted"
    if error.verify_code in _OTHER_NAME:
        # OpenSSL names what was looked for; the certificate's own names are not at hand.
        return f"{text}: it is for another name ({printable(error.verify_message, 200)}); check the URL's host"
    if error.verify_code == _EXPIRED:
        return f"{text}: it has expired, or this machine's clock is wrong; the server's operator must renew it"
    if error.verify_code == _NOT_YET:
        return f"{text}: it is not valid yet; check this machine's clock"
    if error.verify_code in _UNKNOWN_CA:
        how = "if it is a private one, give its certificates with --ca (ca=)"
        return f"{text}: its certificate authority is unknown here ({printable(error.verify_message, 200)}); {how}"
    return f"{text}: {printable(error.verify_message, 200)}"


def _tls(error: ssl.SSLError) -> str:
    reason = (error.reason or str(error)).upper().replace(" ", "_")
    if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason or "RECORD_LAYER_FAILURE" in reason:
        return "the server does not speak TLS at this port; is it an http:// URL?"
    if "CERTIFICATE_REQUIRED" in reason:
        return "the server demands a client certificate; give one with --client-certificate (client_certificate=)"
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return f"the server does not accept the client certificate: {printable(reason, 100)}"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) or "UNEXPECTED_EOF" in reason:
        return "the connection was closed during TLS; the server may demand a client certificate"
    return f"TLS failed: {printable(reason, 100)}"


def _tunnel(status: int, phrase: str) -> str:
    if status == 407:
        return "the proxy wants credentials (407); write them into its URL: http://user:password@proxy:port"
    return f"the proxy refused to connect: {status} {printable(phrase.strip(), 100)}".rstrip()


def _network(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return "the host name cannot be resolved"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, http.client.IncompleteRead):
        # http.client says the same of a chunk whose size is no number.
        return "the answer ended before it was complete"
    if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        return "the connection was reset"
    if isinstance(error, OSError) and error.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL}:
        return "the host cannot be reached"
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        return "this process has too many open files"
    if isinstance(error, CannotConnect):
        return f"the host cannot be reached: {printable(str(error.__cause__ or error), 100)}"
    return ""


def _http(error: BaseException) -> str:
    if isinstance(error, HeadersContradict):
        return "the answer is not HTTP: its headers contradict each other"
    if isinstance(error, http.client.LineTooLong):
        return "the answer is not HTTP: a line of its header is too long"
    if isinstance(error, http.client.BadStatusLine):
        return f"the answer is not HTTP: it begins with {printable(' '.join(str(error.args[0]).split()), 60)!r}"
    if isinstance(error, http.client.UnknownProtocol):
        return f"the answer has an unknown version of HTTP: {printable(str(error), 60)}"
    if isinstance(error, http.client.HTTPException) and str(error).startswith("got more than"):
        return "the answer has too many header fields"
    if isinstance(error, http.client.InvalidURL):
        return "the URL has characters or a host name that no URL can have"
    return ""
