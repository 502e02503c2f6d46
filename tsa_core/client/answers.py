"""What a server said, in one line: whatever its media type, and never more than a line of it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from http.client import responses as phrases
from typing import Any, Final

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.retry_after import retry_after
from tsa_core.values import Value
from tsa_core.verify.errors import printable

_TITLE: Final = re.compile(r"<title[^>]{0,200}>(.{1,500}?)</title", re.IGNORECASE | re.DOTALL)
_SHOWN: Final = 300
_READ: Final = 1 << 14
"""How much of a page is looked at for its title."""
_MESSAGES: Final = ("message", "detail", "error_description", "title", "error")
"""Where JSON errors say what is wrong: Sigstore's and ours, RFC 9457, RFC 6749."""


class Answer(Value):
    """An HTTP answer: its final status, its headers and its body, as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """The media type without parameters, in lower case, empty if none was sent."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def is_reply(self) -> bool:
        """Whether the body may be a TimeStampResp, whatever its media type.

        With an error's status, which some authorities give to a refusal, it must be one SEQUENCE and nothing else.
        """
        if self.body[:1] != b"\x30" or 202 <= self.status < 400:
            return False
        if _spans(self.body):
            return True
        # After the character 0, no text in UTF-8 has a byte that is a length of more than one octet.
        return self.status < 202 and (self.body[1:2] >= b"\x80" or _text(self.body) is None)

    @property
    def retry_after(self) -> float | None:
        """The seconds after which Retry-After asks to come back (RFC 9110 10.2.3), None if it says nothing of use."""
        return retry_after(self.headers.get("Retry-After", ""))

    def explanation(self) -> str:
        """Return the status and what the server says with it."""
        text = f"HTTP status {self.status}"
        said = _said(self.body)
        if self.status < 400 and self.media_type:
            text += f", {printable(self.media_type, 60)}"
        elif not said and self.status >= 400 and self.status in phrases:
            text += f" ({phrases[self.status]})"
        if said:
            text += f": {said}"
        elif not self.body and self.status < 400:
            text += ": an empty answer"
        wait = self.retry_after
        return text if wait is None else f"{text} (Retry-After: {wait:.0f} seconds)"


def _spans(body: bytes) -> bool:
    try:
        _, _, end = der.read(body, 0, len(body))
    except EncodingError:
        return False
    return end == len(body)


def _text(body: bytes) -> str | None:
    """Return the beginning of a text, in UTF-8 or else in Latin-1; None for other bytes."""
    beginning = body[:_READ]
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(beginning)  # which lets the last character be cut
    except UnicodeDecodeError:
        text = beginning.decode("latin-1")
    odd = sum(1 for c in text if not c.isprintable() and not c.isspace())
    return text if odd * 10 <= len(text) else None


def _said(body: bytes) -> str:
    """Return a line for people: a JSON error's message, a page's title, or text as it is."""
    if not body:
        return ""
    text = _text(body)
    if text is None:
        return f"{len(body)} bytes that are not text"
    if not (message := _message(body)):
        title = _TITLE.search(text)
        if title is None:
            message = text
        else:
            import html

            message = html.unescape(title[1])
    return printable(" ".join("".join(c if c.isprintable() else " " for c in message[: 4 * _SHOWN]).split()), _SHOWN)


def _message(body: bytes) -> str:
    # Neither this nor html at the top: a timestamp is no error's text.
    import json

    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(parsed, dict):
        return ""
    said = [parsed[name] for name in _MESSAGES if isinstance(parsed.get(name), str) and parsed[name]]
    nested = parsed.get("error")
    if not said and isinstance(nested, dict) and isinstance(nested.get("message"), str):
        said.append(nested["message"])
    return said[0] if said else ""
