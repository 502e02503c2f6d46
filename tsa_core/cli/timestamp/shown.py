"""Times, durations and names as timestamp-cli shows them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509


def shown_time(time: datetime) -> str:
    """Return a UTC time in ISO 8601."""
    return time.isoformat().replace("+00:00", "Z")


def shown_duration(nanoseconds: int) -> str:
    """Return a duration in seconds."""
    return f"{nanoseconds / 1_000_000_000:g} s"


def certificate_name(certificate: x509.Certificate) -> str:
    """Return the subject of a certificate, and something else when it cannot be read."""
    try:
        return certificate.subject.rfc4514_string()
    except ValueError:
        return "a certificate whose name cannot be read"


def shown_url(text: str) -> str:
    """Return a URL without user and password, for people and JSON; what is no URL as it is."""
    if "://" not in text:
        return text
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:  # no address; what is before an @ may be a password all the same
        return text.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
