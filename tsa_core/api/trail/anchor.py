"""An anchor: the heads of a trail's chains in one document, and the timestamps that other authorities gave it.

The document is ASCII text. Whoever has a token for it can show that every line up to these heads was there at the
token's genTime:

    tsa-core audit heads 1
    number 7
    previous 5d3c...e1
    chain - 4711:77ab...02

`number` counts the anchors of the trail from 1, `previous` is the SHA-256 of the document before it, 64 zeros in front
of the first. A line `chain NAME NUMBER:HASH` stands for each chain, in the order of their names; `-` is the name of
the only chain of a trail that has one. Each line ends with a line feed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tsa_core.api.errors import TsaError
from tsa_core.api.trail.chain import NOTHING, Link, parse_link

_TITLE: Final = "tsa-core audit heads 1"
_NAMELESS: Final = "-"
_NAME: Final = re.compile(r"[!-~]{1,200}", re.ASCII)
MAX_ANCHOR_OCTETS: Final = 16 * 1_048_576


class BrokenAnchorError(TsaError):
    """What is stored is no anchor."""


@dataclass(frozen=True, kw_only=True)
class AnchorDocument:
    """What is stamped. `heads` are the last lines of the chains by their names, "" for a trail's only one."""

    number: int
    heads: Mapping[str, Link]
    previous: str = NOTHING

    def encode(self) -> bytes:
        """Return the octets; raises ValueError for a name that is no printable ASCII without spaces."""
        lines = [_TITLE, f"number {self.number}", f"previous {self.previous}"]
        for name, link in sorted(self.heads.items()):
            if name == _NAMELESS or (name and not _NAME.fullmatch(name)):
                raise ValueError(f"{name!r:.80} cannot be the name of a chain")
            lines.append(f"chain {name or _NAMELESS} {link}")
        return "".join(f"{line}\n" for line in lines).encode("ascii")


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A document, as its octets, and what it was given: DER of each TimeStampResp, by the authority's URL."""

    number: int
    document: bytes
    tokens: Mapping[str, bytes] = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the document, which the next one and the event `audit.anchored` hold."""
        return hashlib.sha256(self.document).hexdigest()

    def read_document(self) -> AnchorDocument:
        """Return what the document says; raises BrokenAnchorError for one that this module has not written."""
        try:
            title, number, previous, *chains = self.document.decode("ascii").removesuffix("\n").split("\n")
            heads = {}
            for line in chains:
                word, name, text = line.split(" ")
                link = parse_link(text)
                if word != "chain" or link is None:
                    raise BrokenAnchorError("its document has a line that is no chain's head")
                heads["" if name == _NAMELESS else name] = link
            found = AnchorDocument(
                number=int(number.removeprefix("number ")), heads=heads, previous=previous.removeprefix("previous ")
            )
            written = found.encode()
        except ValueError:
            raise BrokenAnchorError("its document is not one of tsa-core") from None
        if title != _TITLE or written != self.document:
            raise BrokenAnchorError("its document is not one of tsa-core, or of another version")
        if found.number != self.number:
            raise BrokenAnchorError(f"its document has the number {found.number}")
        return found

    def to_json(self) -> bytes:
        """Return the anchor as it is stored in a file: one JSON object, with a line feed."""
        document = {
            "number": self.number,
            "document": self.document.decode("ascii"),
            "tokens": {url: base64.b64encode(token).decode("ascii") for url, token in self.tokens.items()},
        }
        return f"{json.dumps(document, indent=1)}\n".encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> Anchor:
        """Return the anchor that `to_json` wrote; raises BrokenAnchorError for anything else."""
        try:
            fields = json.loads(data)
            number, document, tokens = fields["number"], fields["document"], fields["tokens"]
            if type(number) is not int or not isinstance(document, str):
                raise BrokenAnchorError("it has no number or no document")
            return cls(
                number=number,
                document=document.encode("ascii"),
                tokens={str(url): base64.b64decode(token, validate=True) for url, token in tokens.items()},
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error):
            raise BrokenAnchorError("it is no anchor") from None
