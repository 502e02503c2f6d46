"""What signd and its clients say to each other: one JSON line each way, a connection for each request.

{"pin": "...", "key": "tsa", "do": "public_key"}                                  {"public_key": base64 of DER}
{"pin": "...", "key": "tsa", "do": "sign", "digest": base64, "hash": "sha256"}    {"signature": base64, raw r||s}
anything that is refused                                                          {"error": "..."}
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

MAX_LINE = 64 * 1024


class WireError(ValueError):
    """Something that is not said here."""


def encode(**fields: str) -> bytes:
    """Return one line."""
    return json.dumps(fields).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the fields of a line; raises ValueError for anything that is not a whole one."""
    if not line.endswith(b"\n"):
        raise WireError("the connection ended before the line did")
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise WireError("the line is not a JSON object")
    return fields


def to_text(data: bytes) -> str:
    """Return octets as text."""
    return b64encode(data).decode("ascii")


def to_bytes(text: object) -> bytes:
    """Return the octets that `to_text` wrote; raises ValueError."""
    if not isinstance(text, str):
        raise WireError("a text in base64 was expected")
    return b64decode(text, validate=True)
