"""The body of an error, for every reply but a TimeStampResp."""

from __future__ import annotations

import json


def error_body(code: int, message: str) -> bytes:
    """Return the JSON of an error, as Sigstore's server writes it."""
    return json.dumps({"code": code, "message": message}, separators=(",", ":")).encode("utf-8")
