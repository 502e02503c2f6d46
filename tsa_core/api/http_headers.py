"""What a plugin may write into a header of a reply."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_VALUE: Final = re.compile(r"[\t -~]*", re.ASCII)
_OF_THE_SERVER: Final = frozenset(
    {
        *("cache-control", "content-type", "content-length", "etag", "date", "server", "set-cookie"),
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        *("proxy-authenticate", "proxy-authorization"),
    }
)
"""Headers that have a field of their own, or that the server writes; and cookies, which no reply here may set."""


def refuse_unsendable(headers: Mapping[str, str]) -> None:
    """Raise ValueError for a name or a value that cannot be sent: a line break would forge another header."""
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"the header {name!r} cannot be sent: use printable ASCII")


def refuse_server_headers(headers: Mapping[str, str], whose: str) -> None:
    """Raise ValueError for a header that is not a plugin's to set; `whose` is the class whose text says more."""
    if forbidden := sorted(name for name in headers if name.lower() in _OF_THE_SERVER):
        raise ValueError(f"the header {forbidden[0]} cannot be set here; see {whose}")
