"""Types of the WSGI interface (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

WsgiApplication: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
