"""What ASiC's XML files name: tokens in XAdES signatures, and what manifests refer to. No entity is ever expanded."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn
from urllib.parse import unquote
from xml.parsers import expat  # nosec - documents with a DOCTYPE are refused below

from tsa_core.extract.found import MAX_TOKENS, ExtractError

_MAX_REFERENCES: Final = 10_000
_SPACE: Final = " "
_ASIC: Final = "http://uri.etsi.org/02918/v1.2.1#"
_DSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
_MANIFEST: Final = f"{_ASIC}{_SPACE}ASiCManifest"
_SIG_REFERENCE: Final = f"{_ASIC}{_SPACE}SigReference"
_OBJECT_REFERENCE: Final = f"{_ASIC}{_SPACE}DataObjectReference"
_DIGEST_METHOD: Final = f"{_DSIG}{_SPACE}DigestMethod"
_DIGEST_VALUE: Final = f"{_DSIG}{_SPACE}DigestValue"
_PLACES: Final = {
    _SIG_REFERENCE: [_MANIFEST],
    _OBJECT_REFERENCE: [_MANIFEST],
    _DIGEST_METHOD: [_MANIFEST, _OBJECT_REFERENCE],
    _DIGEST_VALUE: [_MANIFEST, _OBJECT_REFERENCE],
}
"""The elements of a manifest, and what each stands in, from the root (ETSI EN 319 162-1 A.4)."""
_TOKENS: Final = {
    f"http://uri.etsi.org/01903/{version}#{_SPACE}EncapsulatedTimeStamp" for version in ("v1.3.2", "v1.4.1")
}
_TOKEN_PARENTS: Final = (
    "SignatureTimeStamp", "AllDataObjectsTimeStamp", "IndividualDataObjectsTimeStamp", "ArchiveTimeStamp",
    "SigAndRefsTimeStamp", "RefsOnlyTimeStamp", "SigAndRefsTimeStampV2", "RefsOnlyTimeStampV2",
)  # fmt: skip


@dataclass(kw_only=True)
class Reference:
    """A DataObjectReference of a manifest: a file in the container, and its digest."""

    uri: str
    method: str = ""
    digest: bytes = b""


@dataclass(kw_only=True)
class Names:
    """What one XML file names."""

    signature: str = ""
    """The SigReference of a manifest: the token or signature that is over the manifest."""
    references: list[Reference] = field(default_factory=list)
    tokens: list[tuple[str, bytes]] = field(default_factory=list)
    """The tokens of XAdES signatures, with the element that each stands in."""


def read_names(data: bytes, name: str) -> Names:
    """Read a manifest or a XAdES signature; raises ExtractError for what is no XML, or has a DOCTYPE."""
    reader = _Reader(name)
    parser = expat.ParserCreate(namespace_separator=_SPACE)
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ExtractError(f"{name} is no XML: {error}") from None
    return reader.names


class _Reader:
    def __init__(self, name: str) -> None:
        self.names = Names()
        self._name = name
        self._open: list[str] = []
        self._text: list[str] | None = None
        self._parts: set[tuple[str, int]] = set()

    def doctype(self, *_: object) -> NoReturn:
        raise ExtractError(f"{self._name} has a DOCTYPE, which no signature has")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._open.append(tag)
        if len(self._open) > 64:
            raise ExtractError(f"{self._name} is nested more than 64 levels deep")
        if self._text is not None:
            raise ExtractError(f"{self._name} has an element within a value")
        if tag in _PLACES and (_OBJECT_REFERENCE in self._open or tag == _SIG_REFERENCE):
            self._check_place(tag)
        if tag == _SIG_REFERENCE:
            self.names.signature = unquote(attributes.get("URI", ""))
        elif tag == _OBJECT_REFERENCE:
            if len(self.names.references) == _MAX_REFERENCES:
                raise ExtractError(f"{self._name} names more than {_MAX_REFERENCES} files")
            self.names.references.append(Reference(uri=unquote(attributes.get("URI", ""))))
        elif tag == _DIGEST_METHOD and _OBJECT_REFERENCE in self._open:
            self.names.references[-1].method = attributes.get("Algorithm", "")
        elif (tag == _DIGEST_VALUE and _OBJECT_REFERENCE in self._open) or tag in _TOKENS:
            self._text = []

    def _check_place(self, tag: str) -> None:
        """Raise ExtractError for a part of a manifest that is not where the schema has it, or is there again."""
        part = tag, 0 if tag == _SIG_REFERENCE else len(self.names.references)
        if self._open[:-1] != _PLACES[tag] or part in self._parts:
            local = tag.rpartition(_SPACE)[2]
            raise ExtractError(f"{self._name} has a {local} too many or out of its place: each reader may see another")
        self._parts.add(part)

    def text(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def end(self, tag: str) -> None:
        self._open.pop()
        if self._text is None:
            return
        joined, self._text = "".join("".join(self._text).split()), None
        try:
            value = base64.b64decode(joined, validate=True)
        except (binascii.Error, ValueError):
            raise ExtractError(f"{self._name} has a value that is not base64") from None
        if tag == _DIGEST_VALUE:
            self.names.references[-1].digest = value
            return
        parents = [each.rpartition(_SPACE)[2] for each in reversed(self._open)]
        if len(self.names.tokens) == MAX_TOKENS:
            raise ExtractError(f"{self._name} holds more than {MAX_TOKENS} timestamps")
        self.names.tokens.append((next((each for each in parents if each in _TOKEN_PARENTS), "timestamp"), value))
