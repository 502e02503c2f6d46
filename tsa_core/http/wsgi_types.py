"""Types of the WSGI interface (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

UNIX_PEER = "unix"
"""REMOTE_ADDR of every client that came over a Unix socket."""

WsgiApplication: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
