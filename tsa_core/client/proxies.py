"""Which proxy the environment names for a URL: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case."""

from __future__ import annotations

import base64
import ipaddress
import os
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from tsa_core.values import Value

_PORTS = {"http": 80, "https": 443}


class Proxy(Value):
    """A proxy: its URL without credentials, and its credentials as `Proxy-Authorization` says them."""

    url: str
    authorization: str | None = None

    _hidden: ClassVar = frozenset({"authorization"})


class ProxyUnusable(ValueError):
    """A variable names something that is no HTTP proxy; the text names the variable and no credentials."""


def _named() -> dict[str, str]:
    """Return the proxies that the environment names, by scheme."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}
    # Not at the top: it imports what takes as long as the client itself, and most environments name no proxy.
    from urllib.request import getproxies_environment

    return getproxies_environment()


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for a URL, None for a direct connection; raises ProxyUnusable."""
    parts = urlsplit(url)
    named = _named()
    variable = parts.scheme if named.get(parts.scheme) else "all"
    location = named.get(variable)
    if not location or bypassed(parts.hostname or "", parts.port or _PORTS[parts.scheme], named.get("no", "")):
        return None
    return _parse(location if "://" in location else f"http://{location}", f"{variable.upper()}_PROXY")


def _parse(location: str, variable: str) -> Proxy:
    try:
        parts = urlsplit(location)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if parts.scheme not in _PORTS or not host:
        kind = f", and {parts.scheme} proxies are not supported" if parts.scheme not in {"", *_PORTS} else ""
        raise ProxyUnusable(f"{variable} is not the URL of an http or https proxy{kind}")
    shown = f"[{host}]" if ":" in host else host
    return Proxy(url=f"{parts.scheme}://{shown}:{port or _PORTS[parts.scheme]}", authorization=basic(parts.netloc))


def basic(authority: str) -> str | None:
    """Return the Basic credentials (RFC 7617, UTF-8) of a URL's `user:password@host`, None if it has none."""
    user_info, at, _ = authority.rpartition("@")
    if not at:
        return None
    user, _, password = user_info.partition(":")
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


def bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Return whether NO_PROXY excepts a host.

    Its entries, separated by commas or spaces: `*`; a domain, with or without a leading dot, which covers the hosts
    below it; an address; a network such as 10.0.0.0/8; any but `*` and a network with `:port`. No name is resolved.
    """
    host = host.lower().rstrip(".")
    return any(_covers(entry.lower(), host, port) for entry in no_proxy.replace(",", " ").split())


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    else:
        return address is not None and address in network
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal():
        if int(number) != port:
            return False
        entry = name
    if address is not None:
        return address == _address(entry.strip("[]"))
    entry = entry.removeprefix("*").strip(".")
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
