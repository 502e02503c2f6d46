"""The settings that a client and `stamp_all` share, and the header fields that they send."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, TypedDict
from urllib.parse import urlsplit

from tsa_core.client.proxies import ProxyUnusable, proxy_for
from tsa_core.client.tls import ClientSettingError, File

if TYPE_CHECKING:
    from pathlib import Path

    from tsa_core.verify import Verifier

MAX_TOKEN_OCTETS: Final = 1 << 16
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_OURS: Final = frozenset(
    {"accept-encoding", "connection", "content-encoding", "content-length", "content-type", "host"}
    | {"proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""What the client itself says of the message and the connection."""


class ServerSettings(TypedDict, total=False):
    """How a server is reached: whom to trust for TLS, and what to show to it; TimestampClient says what each means."""

    ca: File | None
    client_certificate: File | None
    client_key: File | None
    headers: Mapping[str, str] | None
    token_file: File | None
    token_over_http: bool


class ClientSettings(ServerSettings, total=False):
    """The arguments of TimestampClient, all of which `stamp_all` takes too."""

    timeout: float
    verifier: Verifier | None
    ssl_context: ssl.SSLContext | None
    retries: int
    clock_window: timedelta


def header_source(
    headers: Mapping[str, str] | None, token_file: File | None, *, authorized: bool
) -> Callable[[], Mapping[str, str]]:
    """Return what gives the header fields of an exchange; raises ClientSettingError for those that cannot be sent.

    `token_file` holds a bearer token (RFC 6750) and is read for each exchange, so that a token may be renewed while
    a program runs. `authorized` says that the URL has credentials of its own.
    """
    own = dict(headers or {})
    for name, value in own.items():
        _check(name, value)
    if len({name.lower() for name in own}) < len(own):
        raise ClientSettingError("a header field is given twice")
    given = ["a header"] if "authorization" in map(str.lower, own) else []
    given += ["the URL's user and password"] if authorized else []
    given += ["a token file"] if token_file is not None else []
    if len(given) > 1:
        raise ClientSettingError(f"Authorization is given by {' and by '.join(given)}; give one of them")
    if token_file is None:
        return lambda: own
    from pathlib import Path  # not at the top: most commands have no token, and it takes 3 ms of each

    path = Path(token_file)
    _bearer(path)
    return lambda: {**own, "Authorization": _bearer(path)}


def check_bearer_token(
    url: str, headers: Mapping[str, str] | None, token_file: File | None, *, over_http: bool
) -> None:
    """Raise ClientSettingError for a bearer token that would leave this machine without TLS (RFC 6750 5.3).

    `over_http` allows it, and is an error without a token. `url` is a usable one.
    """
    bearer = any(n.lower() == "authorization" and v.lower().startswith("bearer ") for n, v in (headers or {}).items())
    if token_file is None and not bearer:
        if over_http:
            raise ClientSettingError("there is no bearer token that token_over_http could allow")
    elif not over_http and urlsplit(url).scheme == "http" and not _stays_here(url):
        host = urlsplit(url).hostname
        raise ClientSettingError(
            f"the bearer token would go to {host} over plain http, where others can read it; use https, or allow it "
            "with token_over_http=True (--token-over-http)"
        )


def _stays_here(url: str) -> bool:
    """Say whether a connection does not leave this machine: the host is the machine itself, and no proxy is asked."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost" or host.endswith(".localhost")  # RFC 6761 6.3
    try:
        return loopback and proxy_for(url) is None
    except ProxyUnusable:
        return False


def _check(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        raise ClientSettingError("a header's name has a character that no name can have")
    if name.lower() in _OURS:
        raise ClientSettingError(f"the header {name} is set by the client itself")
    # The value may be a secret, and is not shown.
    if any((c != "\t" and not " " <= c <= "\xff") or c == "\x7f" for c in value):
        raise ClientSettingError(f"the value of the header {name} has a character that cannot be sent")


def _bearer(path: Path) -> str:
    from tsa_core.durable import open_regular  # not at the top, for the same reason

    try:
        with os.fdopen(open_regular(path), "rb") as file:
            data = file.read(MAX_TOKEN_OCTETS + 1)
    except OSError as error:
        raise ClientSettingError(f"the token file {path} cannot be read: {error.strerror}") from None
    token = data.decode("ascii", "replace").strip()
    if len(data) > MAX_TOKEN_OCTETS or not _TOKEN.fullmatch(token):
        raise ClientSettingError(f"the token file {path} does not hold one bearer token and nothing else")
    return f"Bearer {token}"
