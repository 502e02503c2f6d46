"""One of many files: its name, what is known of it, and its name as it is shown and written into JSON."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass

from tsa_core.protocol.hashes import HashAlgorithm


@dataclass(frozen=True, kw_only=True)
class Item:
    """A file to timestamp or to verify, or the reason why it cannot be.

    `name` is as it was typed or found, with surrogates for what is not UTF-8 (PEP 383). `digest` is known when it came
    from a list of sums; `algorithm` then is its hash. `problem` is why the file cannot be read.
    """

    name: str
    digest: bytes | None = None
    algorithm: HashAlgorithm | None = None
    problem: str | None = None


def shown_name(name: str) -> str:
    """Return a name on one line: control characters and what is not UTF-8 as escapes, as ls -b and git have them."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def json_name(name: str) -> dict[str, str]:
    """Return the members that a name has in JSON: `File`, and `FileBase64` when its bytes are not UTF-8."""
    raw = os.fsencode(name)
    try:
        return {"File": raw.decode()}
    except UnicodeDecodeError:
        return {"File": shown_name(name), "FileBase64": base64.b64encode(raw).decode()}


def name_from_json(document: dict[str, object]) -> str:
    """Return the name that `json_name` wrote; raises ValueError."""
    encoded, name = document.get("FileBase64"), document.get("File")
    if isinstance(encoded, str):
        name = os.fsdecode(base64.b64decode(encoded, validate=True))
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError("a file without a name")
    return name
