"""TimeStampedData (RFC 5544): one file with data or the address of data, and timestamps of it, one over the other.

The first TimeStampAndCRL's token is over the data; each later one is over the TimeStampAndCRL before it, as
BouncyCastle makes and reads them. So a later timestamp covers the token before it with all that was put into it:
certificates, CRLs, OCSP responses. Bytes in, bytes out; nothing is verified here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tsa_core.protocol import ber, der
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import is_token, values_of

MAX_LAYERS: Final = 64
"""Timestamps in one file; thirty years with one renewal a year have half as many."""
MAX_ARCHIVE_OCTETS: Final = 256 << 20
"""Of one file, its content included: it is read into memory."""
_ID_CT_TIMESTAMPED_DATA: Final = der.oid("1.2.840.113549.1.9.16.1.31")
_IA5_STRING, _UTF8_STRING, _BOOLEAN = 0x16, 0x0C, 0x01


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One TimeStampAndCRL: a DER token, and a CRL or nothing."""

    token: bytes
    crl: bytes | None = None

    @property
    def encoded(self) -> bytes:
        """What the next layer's timestamp is over."""
        return der.sequence(self.token, self.crl or b"")


@dataclass(frozen=True, kw_only=True, slots=True)
class MetaData:
    """What is said of the data; `protected` says whether the first timestamp is over it too, before the data."""

    encoded: bytes
    protected: bool
    file_name: str | None = None
    media_type: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeStampedData:
    """A TimeStampedData with timestamp tokens; `content` is None when the data is elsewhere."""

    layers: tuple[Layer, ...]
    content: bytes | None = None
    data_uri: str | None = None
    metadata: MetaData | None = None

    @property
    def before_content(self) -> bytes:
        """What the first timestamp is over, before the data."""
        return self.metadata.encoded if self.metadata is not None and self.metadata.protected else b""

    def with_layers(self, layers: tuple[Layer, ...]) -> TimeStampedData:
        """Return the same data with other layers."""
        return replace(self, layers=layers)

    def encode(self) -> bytes:
        """Return the DER of the ContentInfo."""
        parts = (
            der.integer(1),
            der.tlv(_IA5_STRING, self.data_uri.encode("ascii")) if self.data_uri is not None else b"",
            self.metadata.encoded if self.metadata is not None else b"",
            der.octet_string(self.content) if self.content is not None else b"",
            der.explicit(0, b"".join(layer.encoded for layer in self.layers)),
        )
        return der.sequence(_ID_CT_TIMESTAMPED_DATA, der.explicit(0, der.sequence(*parts)))


def is_timestamped_data(start: bytes) -> bool:
    """Say whether data that begins so, with at least 32 bytes, is a ContentInfo with a TimeStampedData."""
    size = start[1] if len(start) > 1 else 0
    offset = 2 if size <= 0x80 else 2 + (size & 0x7F)
    return start[:1] == b"\x30" and start[offset : offset + len(_ID_CT_TIMESTAMPED_DATA)] == _ID_CT_TIMESTAMPED_DATA


def read_timestamped_data(data: bytes) -> TimeStampedData:
    """Read a file; raises EncodingError for anything else than a TimeStampedData with timestamp tokens.

    BER is accepted, which RFC 5544 and BouncyCastle use for long contents.
    """
    if len(data) > MAX_ARCHIVE_OCTETS:
        raise EncodingError(f"it has {len(data)} bytes; more than {MAX_ARCHIVE_OCTETS} are not read")
    try:
        return _content_info(data)
    except EncodingError as error:
        strict = error
    rewritten = ber.definite(data)
    if rewritten == data:
        raise strict
    return _content_info(rewritten)


def _content_info(data: bytes) -> TimeStampedData:
    parts = _children(data, 0, len(data), der.SEQUENCE, "the ContentInfo", most=2)
    if len(parts) != 2 or data[parts[0][0] : parts[0][2]] != _ID_CT_TIMESTAMPED_DATA or data[parts[1][0]] != 0xA0:
        raise EncodingError("it is not a TimeStampedData (RFC 5544)")
    fields = _children(data, parts[1][1], parts[1][2], der.SEQUENCE, "TimeStampedData", most=5)
    if not fields or data[fields[0][0] : fields[0][2]] != der.integer(1):
        raise EncodingError("the TimeStampedData does not have version 1, the only one that exists")
    rest = list(fields[1:])
    uri: str | None = None
    metadata: MetaData | None = None
    content: bytes | None = None
    if rest and data[rest[0][0]] == _IA5_STRING:
        uri = _text(data, *rest.pop(0)[1:], name="dataUri")
    if rest and data[rest[0][0]] == der.SEQUENCE:
        metadata = _metadata(data, *rest.pop(0))
    if rest and data[rest[0][0]] == der.OCTET_STRING:
        _, start, end = rest.pop(0)
        content = data[start:end]
    if len(rest) != 1:
        raise EncodingError("the TimeStampedData does not end with one temporalEvidence")
    at, start, end = rest[0]
    if data[at] != 0xA0:
        raise EncodingError("its evidence is no timestamp token; evidence records and other evidence are not read here")
    return TimeStampedData(layers=_layers(data, start, end), content=content, data_uri=uri, metadata=metadata)


def _layers(data: bytes, offset: int, end: int) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    while offset < end:
        if len(layers) == MAX_LAYERS:
            raise EncodingError(f"it holds more than {MAX_LAYERS} timestamps")
        parts = _children(data, offset, None, der.SEQUENCE, "a TimeStampAndCRL", most=2, limit=end)
        if not parts:
            raise EncodingError("a TimeStampAndCRL is empty")
        token = data[parts[0][0] : parts[0][2]]
        if not is_token(token):
            raise EncodingError("a TimeStampAndCRL does not begin with a timestamp token")
        crl = data[parts[1][0] : parts[1][2]] if len(parts) == 2 else None
        layers.append(Layer(token=token, crl=crl))
        offset = der.read(data, offset, end)[2]
    if not layers:
        raise EncodingError("it holds no timestamp")
    return tuple(layers)


def _metadata(data: bytes, at: int, start: int, end: int) -> MetaData:
    parts = values_of(data[start:end])
    if not 1 <= len(parts) <= 4 or parts[0][0] != _BOOLEAN or len(parts[0]) != 3:
        raise EncodingError("the metaData does not say whether the timestamp is over it")
    names = {part[0]: part for part in parts[1:]}
    return MetaData(
        encoded=data[at:end],
        protected=parts[0][2] != 0,
        file_name=_text_of(names.get(_UTF8_STRING), "fileName"),
        media_type=_text_of(names.get(_IA5_STRING), "mediaType"),
    )


def _text_of(encoded: bytes | None, name: str) -> str | None:
    return None if encoded is None else _text(encoded, *der.read(encoded, 0, len(encoded))[1:], name=name)


def _text(data: bytes, start: int, end: int, *, name: str) -> str:
    try:
        return data[start:end].decode("utf-8" if name == "fileName" else "ascii")
    except UnicodeDecodeError:
        raise EncodingError(f"the {name} is not text") from None


def _children(
    data: bytes, offset: int, end: int | None, tag: int, what: str, *, most: int, limit: int = 0
) -> list[tuple[int, int, int]]:
    """Return offset, start and end of each value in the value at `offset`, which must have this tag.

    It must end at `end`, unless that is None: then it ends by `limit`.
    """
    found, start, stop = der.read(data, offset, limit if end is None else end)
    if found != tag or (end is not None and stop != end):
        raise EncodingError(f"{what} is not one SEQUENCE")
    children: list[tuple[int, int, int]] = []
    while start < stop:
        if len(children) == most:
            raise EncodingError(f"{what} has more than {most} parts")
        _, inner, following = der.read(data, start, stop)
        children.append((start, inner, following))
        start = following
    return children
