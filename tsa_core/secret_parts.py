"""PINs and passwords that are parts of a text: every room leaves them out of what it shows."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "(hidden)"
_SECRET_PARTS: Final = re.compile(
    r"""(?ix)
    ( (?:pin|passphrase|password|passwd|secret)(?:[-_]value)?= | [?&](?:[a-z_-]+[-_])?token= )
    [^;&\s]+? (?= ["'][])},.:]*(?:\s|$) | [;&\s] | $ )
    | ( (?:/|[a-z]:)/[^/@:\s"']*: ) [^/\s]+ (?=@)
    | ( (?:/|[a-z]:)/[^/@:\s"'\[]*: ) (?! \d*[/?\#] ) \S+ (?=@)"""
)
"""Values within a key's URI or an address that are secrets, as PKCS #11's pin-value, or the password before a host.

A quote is a part of the value unless it ends the word: RFC 7512 lets PINs have them. What stands before a / is a
password, too, when it is no port: no parser can read such an address, and all up to the last @ is left out. An address
that was taken for a path has one slash.
"""


def without_secret_parts(text: str) -> str:
    """Return a text, a key's URI or an address for example, without the PINs and passwords that are parts of it."""
    return _SECRET_PARTS.sub(lambda found: f"{found[found.lastindex or 0]}{HIDDEN}", text)
