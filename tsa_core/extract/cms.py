"""Tokens in CMS signatures: CAdES, .p7s, .p7m, the signature blocks of JARs and programs (RFC 5652, ETSI EN 319 122-1).

What the signature itself is worth is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from tsa_core.extract.found import ExtractError, Found, FoundCountersignature, FoundToken
from tsa_core.protocol import ber, der, oids
from tsa_core.protocol.errors import EncodingError

_MAX_SIGNERS: Final = 64
_MAX_ATTRIBUTES: Final = 256
_MAX_NESTING: Final = 4
"""Signatures inside of signatures, as Authenticode has them for a second hash."""
_SIGNED_DATA: Final = der.oid(oids.ID_SIGNED_DATA)
_NESTED: Final = der.oid("1.3.6.1.4.1.311.2.4.1")
_CONTENT_TIMESTAMP: Final = der.oid("1.2.840.113549.1.9.16.2.20")
_OVER_SIGNATURE: Final = {
    der.oid("1.2.840.113549.1.9.16.2.14"): "signature-time-stamp",
    der.oid("1.3.6.1.4.1.311.3.3.1"): "Authenticode timestamp",
}
_NOT_WORKED_OUT: Final = {
    der.oid("1.2.840.113549.1.9.16.2.25"): ("CAdES-C-time-stamp", "the signature with references to its certificates"),
    der.oid("1.2.840.113549.1.9.16.2.26"): ("time-stamped-certs-crls-references", "references to certificates"),
    der.oid("1.2.840.113549.1.9.16.2.48"): ("archive-time-stamp-v2", "the whole signature and its data"),
    der.oid("0.4.0.1733.2.4"): ("archive-time-stamp-v3", "the whole signature and its data"),
}
_COUNTERSIGNATURE: Final = der.oid("1.2.840.113549.1.9.6")
_SIGNED, _UNSIGNED = 0xA0, 0xA1
_IN_PIECES: Final = 0x24
_CONTENT: Final = 0xA0

Content = Callable[[], bytes]


class SignedData(NamedTuple):
    """What is needed of a CMS SignedData; `content` is None when the signature is detached."""

    content_type: bytes
    content: bytes | None
    signers: tuple[bytes, ...]


def is_signed_data(data: bytes) -> bool:
    """Say whether data begin as a ContentInfo with SignedData does."""
    size = data[1] if len(data) > 1 else 0
    offset = 2 if size <= 0x80 else 2 + (size & 0x7F)
    return data[:1] == b"\x30" and data[offset : offset + len(_SIGNED_DATA)] == _SIGNED_DATA


def read_signed_data(data: bytes) -> SignedData:
    """Read a ContentInfo with SignedData, DER or BER; raises ExtractError."""
    try:
        try:
            return _read(data)
        except EncodingError:
            return _read(ber.definite(data))
    except EncodingError as error:
        raise ExtractError(f"the CMS signature cannot be read: {error}") from None


def _read(data: bytes) -> SignedData:
    _, start, end = der.read(data, 0, len(data))  # what follows is padding, in programs and PDFs
    _, _, stop = der.read(data, start, end)
    if data[start:stop] != _SIGNED_DATA:
        raise EncodingError("it is not SignedData")
    _, start, end = der.read(data, stop, end)
    _, start, end = der.read(data, start, end)
    fields: list[tuple[int, int, int]] = []
    while start < end:
        if len(fields) == 6:
            raise EncodingError("SignedData has more than six fields")
        _, inner, stop = der.read(data, start, end)
        fields.append((start, inner, stop))
        start = stop
    if len(fields) < 4 or data[fields[-1][0]] != der.SET:
        raise EncodingError("SignedData does not have the fields that it must have")
    _, start, end = fields[2]
    _, _, stop = der.read(data, start, end)
    content: bytes | None = None
    if stop < end:
        outer, inner, outer_end = der.read(data, stop, end)
        tag, inner, inner_end = der.read(data, inner, outer_end)
        if (outer, outer_end, inner_end) != (_CONTENT, end, outer_end):
            raise EncodingError("the content is not one value in one field [0]")
        if tag == _IN_PIECES:
            raise EncodingError("the content is an OCTET STRING in pieces")  # which is BER, and is read as such
        content = data[inner:inner_end]  # of an OCTET STRING; of Authenticode's SEQUENCE, too, the content octets
    signers = _bounded(data[fields[-1][1] : fields[-1][2]], _MAX_SIGNERS, "signers")
    return SignedData(data[start:stop], content, signers)


def tokens_in_cms(data: bytes, place: str, content: Content | None = None, *, depth: int = 0) -> Iterator[Found]:
    """Yield what is in a CMS signature; `content` returns what a detached one is over. Raises ExtractError."""
    signed = read_signed_data(data)
    own = signed.content
    over: Content | None = (lambda: own) if own is not None else content
    for number, signer in enumerate(signed.signers, 1):
        where = f"{place}, signer {number}" if len(signed.signers) > 1 else place
        try:
            yield from _of_signer(signer, where, over, depth)
        except EncodingError as error:
            raise ExtractError(f"{where}: the SignerInfo cannot be read: {error}") from None


def _of_signer(signer: bytes, place: str, content: Content | None, depth: int) -> Iterator[Found]:
    _, start, end = der.read(signer, 0, len(signer))
    parts = _bounded(signer[start:end], 7, "parts of a SignerInfo")
    if len(parts) < 5:
        raise EncodingError("it does not have the parts that it must have")
    signatures = [part for part in parts[3:] if part[0] == der.OCTET_STRING]
    if len(signatures) != 1:
        raise EncodingError(f"it holds {len(signatures)} signatures, not one")
    (signature,) = signatures
    value = signature[der.read(signature, 0, len(signature))[1] :]
    if parts[3][0] == _SIGNED:
        for name, token in _attributes(parts[3]):
            if name == _CONTENT_TIMESTAMP:
                yield FoundToken(
                    kind="content-time-stamp",
                    place=place,
                    token=token,
                    covers="the signed data",
                    subject=content,
                    unknown=""
                    if content is not None
                    else "the signature is detached, and what it is over was not given",
                )
    if parts[-1][0] != _UNSIGNED:
        return
    for name, token in _attributes(parts[-1]):
        if name in _OVER_SIGNATURE:
            yield FoundToken(
                kind=_OVER_SIGNATURE[name],
                place=place,
                token=token,
                covers="the value of the signature",
                subject=lambda: value,
            )
        elif name in _NOT_WORKED_OUT:
            kind, covers = _NOT_WORKED_OUT[name]
            yield FoundToken(
                kind=kind, place=place, token=token, covers=covers, unknown=f"{kind} is not worked out here"
            )
        elif name == _COUNTERSIGNATURE:
            yield FoundCountersignature(place=place)
        elif name == _NESTED:
            if depth == _MAX_NESTING:
                raise ExtractError(f"{place}: signatures are nested more than {_MAX_NESTING} levels deep")
            yield from tokens_in_cms(token, f"{place}, nested signature", content, depth=depth + 1)


def _attributes(field: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each value of each attribute with its type."""
    _, start, end = der.read(field, 0, len(field))
    for attribute in _bounded(field[start:end], _MAX_ATTRIBUTES, "attributes"):
        _, inner, inner_end = der.read(attribute, 0, len(attribute))
        name, *values = _bounded(attribute[inner:inner_end], 2, "parts of an attribute")
        for each in values:
            _, begin, stop = der.read(each, 0, len(each))
            for value in _bounded(each[begin:stop], _MAX_ATTRIBUTES, "values of an attribute"):
                yield name, value


def _bounded(content: bytes, most: int, what: str) -> tuple[bytes, ...]:
    """Return the encoded values in `content`, at most so many."""
    offset = 0
    values: list[bytes] = []
    while offset < len(content):
        if len(values) == most:
            raise EncodingError(f"there are more than {most} {what}")
        _, _, stop = der.read(content, offset, len(content))
        values.append(content[offset:stop])
        offset = stop
    return tuple(values)
