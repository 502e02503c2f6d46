"""What the addresses of services in settings mean for what is sent to them."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def sends_cleartext(url: str) -> bool:
    """Say whether others can read what is sent to a URL: it is http, and its host is not this machine."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    host = parts.hostname or ""
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
