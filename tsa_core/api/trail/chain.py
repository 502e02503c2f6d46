"""The lines, and the chain of hashes that holds them together.

A line is a JSON object in ASCII that begins with its sequence number and ends with its hash:

    {"seq":7,"type":"token",...,"hash":"5d3c...e1"}

The hash is SHA-256, or HMAC-SHA256 with the operator's key, over the 64 hexadecimal digits of the hash before it
and the line's own octets in front of `,"hash"`. Before the first line stand 64 zeros.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self

from tsa_core.api.errors import ConfigError, TsaError

if TYPE_CHECKING:
    from pydantic import SecretStr

NOTHING: Final = "0" * 64
"""What the first hash of all is chained to."""
MAX_LINE_OCTETS: Final = 4 * 1_048_576
_MIN_KEY_OCTETS: Final = 16
_HASH: Final = b',"hash":"'
_END: Final = b'"}\n'
_TAIL_OCTETS: Final = len(_HASH) + 64 + len(_END)
_json_object: Final = json.JSONEncoder(separators=(",", ":")).encode
json_string: Final = json.encoder.encode_basestring_ascii
"""What the encoder makes of a text."""


class BrokenChainError(TsaError):
    """A line that is no line of an audit trail, or does not fit the one before it."""


class Link(NamedTuple):
    """Where the chain is: the last line's sequence number and hash."""

    seq: int = 0
    digest: str = NOTHING

    def __str__(self) -> str:
        return f"{self.seq}:{self.digest}"


BEGINNING: Final = Link()
_LINK_TEXT: Final = re.compile(r"([0-9]{1,18}):([0-9A-Fa-f]{64})", re.ASCII)


def parse_link(text: str) -> Link | None:
    """Return the link that `NUMBER:HASH` means, None for any other text."""
    found = _LINK_TEXT.fullmatch(text)
    return Link(int(found[1]), found[2].lower()) if found else None


def chain_key(secret: SecretStr | None, setting: str) -> bytes | None:
    """Return the key of a chain that a sink's options hold, None without one.

    `setting` is its path. Raises ConfigError for one of fewer than 16 bytes.
    """
    key = secret.get_secret_value().encode("utf-8") if secret is not None else None
    if key is not None and len(key) < _MIN_KEY_OCTETS:
        raise ConfigError(
            f"the key has fewer than {_MIN_KEY_OCTETS} bytes; openssl rand -hex 32 makes one", path=setting
        )
    return key


class Hash(Protocol):
    """A hash as it begins for every line; a copy costs less than another one."""

    def copy(self) -> Self:
        """Return another in this state."""

    def update(self, data: bytes, /) -> None:
        """Add octets."""

    def hexdigest(self) -> str:
        """Return the hash."""


_make_link: Final = tuple.__new__
"""Makes a Link in half the time of its constructor."""


def begin_hash(key: bytes | None) -> Hash:
    """Return what the hash of every line begins with."""
    return hashlib.sha256() if key is None else hmac.new(key, digestmod="sha256")


def encode(fields: Mapping[str, object]) -> str:
    """Return the members of a line's object, without sequence number, hash and braces."""
    return _json_object(fields)[1:-1]


def seal(members: str, before: Link, begun: Hash) -> tuple[str, Link]:
    """Return the line that follows `before`, and the link that it makes; `begun` is what `begin_hash` returned."""
    seq = before[0] + 1
    head = f'{{"seq":{seq},{members}'
    line_hash = begun.copy()
    line_hash.update((before[1] + head).encode("ascii"))
    digest = line_hash.hexdigest()
    return f'{head},"hash":"{digest}"}}\n', _make_link(Link, (seq, digest))


def tail_of(link: Link) -> bytes:
    """Return how the line that makes a link ends."""
    return b"%b%b%b" % (_HASH, link[1].encode("ascii", "replace"), _END)


def read_line(line: bytes) -> tuple[dict[str, Any], Link]:
    """Return a line's object and the link that it claims; raises BrokenChainError for anything else."""
    hash_at = len(line) - _TAIL_OCTETS
    if not line.endswith(_END) or hash_at < 0 or line[hash_at : hash_at + len(_HASH)] != _HASH:
        raise BrokenChainError("this is no line of an audit trail")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise BrokenChainError("this is no JSON") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str) or type(fields.get("seq")) is not int:
        raise BrokenChainError("this line has no sequence number or no type")
    return fields, Link(fields["seq"], str(fields["hash"]))


def check_line(line: bytes, before: Link, begun: Hash) -> tuple[dict[str, Any], Link]:
    """Return what `read_line` does when the line follows `before`; raises BrokenChainError, saying why, when not."""
    fields, link = read_line(line)
    if link.seq != before.seq + 1:
        raise BrokenChainError(f"number {link.seq} follows {before.seq}: lines are missing, or were put elsewhere")
    line_hash = begun.copy()
    # What stands there as a hash may be anything.
    line_hash.update(before.digest.encode("ascii", "replace") + line[:-_TAIL_OCTETS])
    if not hmac.compare_digest(line_hash.hexdigest().encode("ascii"), link.digest.encode("ascii", "replace")):
        raise BrokenChainError("its hash does not fit: this line or the one before it is not what was written")
    return fields, link
