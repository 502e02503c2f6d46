"""Limits and rules for requests that hold for waitress and granian alike: RFC 9112, and what a public server needs."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

MAX_HEADER_LINES: Final = 100
"""hyper, inside granian, has the same limit."""
MAX_LENGTH_DIGITS: Final = 18
"""No body is as long as a number of more digits says, and Python refuses to read thousands of digits."""

_FREE_CHUNKS: Final = 256
_OCTETS_PER_CHUNK: Final = 256
_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+;=%:\[\]-]*")
"""What may stand in Host (RFC 9110 7.2). There is a comma where a server has joined two."""


def max_chunks(octets: int) -> int:
    """Return how many chunks a body of so many octets may have: tiny chunks cost much more than their octets."""
    return _FREE_CHUNKS + octets // _OCTETS_PER_CHUNK


@lru_cache(maxsize=256)
def is_host(value: str) -> bool:
    """Say whether this is the value of one Host header; it may be empty."""
    return len(value) <= 512 and _HOST.fullmatch(value) is not None
