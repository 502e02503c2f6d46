"""Tokens of C2PA in JPEG and PNG: JUMBF boxes (ISO 19566-5) with COSE signatures, whose headers hold the timestamps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from tsa_core.cose.errors import CoseError
from tsa_core.cose.items import BYTES, encode, head
from tsa_core.cose.message import CoseMessage, read_message
from tsa_core.cose.timestamps import ctt_input
from tsa_core.extract.found import ExtractError, FoundToken
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.token_material import token_of

_MAX_SEGMENTS: Final = 1 << 16
_MAX_BOXES: Final = 10_000
_MAX_DEPTH: Final = 16
_MAX_TOKENS_OF_A_SIGNATURE: Final = 16
PNG: Final = b"\x89PNG\r\n\x1a\n"
JPEG: Final = b"\xff\xd8\xff"


def tokens_in_image(data: bytes) -> Iterator[FoundToken]:
    """Yield the tokens of every C2PA manifest in an image; raises ExtractError, or ExtraMissing without cbor2."""
    store = b"".join(_png_chunks(data)) if data.startswith(PNG) else _jpeg_boxes(data)
    claims: dict[str, bytes] = {}
    signatures: list[tuple[str, bytes]] = []
    for path, kind, content in _boxes(store):
        labels = path.split("/")
        if kind == b"cbor" and labels[-1] in {"c2pa.claim", "c2pa.claim.v2"}:
            manifest = path.rpartition("/")[0]
            if manifest in claims:
                raise ExtractError(f"{manifest[:120]} has two claims, of which each reader may see another")
            claims[manifest] = content
        elif kind == b"cbor" and labels[-1] == "c2pa.signature":
            signatures.append((path, content))
    for path, content in signatures:
        try:
            message = read_message(content)
            yield from _of_signature(message, path, claims.get(path.rpartition("/")[0]))
        except CoseError as error:
            raise ExtractError(f"{path[:120]}: {error}") from None


def _of_signature(message: CoseMessage, path: str, claim: bytes | None) -> Iterator[FoundToken]:
    for name in ("sigTst", "sigTst2"):
        container: Any = message.unprotected.get(name)
        tokens = container.get("tstTokens") if hasattr(container, "get") else None
        if not isinstance(tokens, list | tuple):
            continue
        if len(tokens) > _MAX_TOKENS_OF_A_SIGNATURE:
            raise ExtractError(f"{path[:120]} has more than {_MAX_TOKENS_OF_A_SIGNATURE} timestamps")
        for entry in tokens:
            yield _found(message, path, claim, name, entry)


def _found(message: CoseMessage, path: str, claim: bytes | None, name: str, entry: Any) -> FoundToken:
    value = entry.get("val") if hasattr(entry, "get") else None
    try:
        token = token_of(bytes(value)) if isinstance(value, bytes) else b""
    except EncodingError:
        token = b""
    if not token:
        raise ExtractError(f"{path[:120]} has a timestamp that cannot be read")
    if name == "sigTst2":
        # As the reference implementation makes it: the CBOR-encoded signature is the payload of a Sig_structure.
        subject = partial(_countersigned, message, ctt_input(message))
        return FoundToken(kind="C2PA sigTst2", place=path, token=token, covers="the signature", subject=subject)
    if message.payload is not None and message.payload != claim:
        raise ExtractError(f"{path[:120]} holds a payload that is not the claim beside it")
    return FoundToken(
        kind="C2PA sigTst",
        place=path,
        token=token,
        covers="the claim",
        subject=partial(_countersigned, message, claim) if claim is not None else None,
        unknown="" if claim is not None else "the claim is not in the file",
    )


def _countersigned(message: CoseMessage, payload: bytes) -> bytes:
    """Return what both are over: a Sig_structure (RFC 9052 4.4) with the context CounterSignature and this payload."""
    parts = (encode("CounterSignature"), message.protected_cbor, head(BYTES, 0), head(BYTES, len(payload)) + payload)
    return head(4, len(parts)) + b"".join(parts)


def _png_chunks(data: bytes) -> Iterator[bytes]:
    offset = len(PNG)
    for _ in range(_MAX_SEGMENTS):
        if offset + 12 > len(data):
            return
        size, kind = int.from_bytes(data[offset : offset + 4], "big"), data[offset + 4 : offset + 8]
        if offset + 12 + size > len(data):
            raise ExtractError("a chunk of the PNG is longer than the file")
        if kind == b"caBX":
            yield data[offset + 8 : offset + 8 + size]
        offset += 12 + size
    raise ExtractError(f"the PNG has more than {_MAX_SEGMENTS} chunks")


def _jpeg_boxes(data: bytes) -> bytes:
    """Return the boxes of the APP11 segments, put together again: each piece repeats the head of its box.

    The pieces must stand in the order of their numbers: some readers go by these, and some by the file.
    """
    boxes: dict[tuple[bytes, int], bytearray] = {}
    pieces: dict[tuple[bytes, int], int] = {}
    offset = 2
    for _ in range(_MAX_SEGMENTS):
        if offset + 4 > len(data) or data[offset] != 0xFF or data[offset + 1] in {0xD9, 0xDA}:
            return b"".join(bytes(box) for box in boxes.values())
        size = int.from_bytes(data[offset + 2 : offset + 4], "big")
        end = offset + 2 + size
        if size < 2 or end > len(data):
            raise ExtractError("a segment of the JPEG is longer than the file")
        if data[offset + 1] == 0xEB and data[offset + 4 : offset + 6] == b"JP" and size >= 18:
            piece = data[offset + 12 : end]
            # A number is one among the boxes of one type (ISO 18477-3).
            box = piece[4:8], int.from_bytes(data[offset + 6 : offset + 8], "big")
            pieces[box] = pieces.get(box, 0) + 1
            if box[0] == b"jumb" and pieces[box] != int.from_bytes(data[offset + 8 : offset + 12], "big"):
                raise ExtractError("the pieces of a box in the JPEG do not stand in the order of their numbers")
            if box in boxes:
                boxes[box] += piece[16 if piece[:4] == b"\x00\x00\x00\x01" else 8 :]
            else:
                boxes[box] = bytearray(piece)
        offset = end
    raise ExtractError(f"the JPEG has more than {_MAX_SEGMENTS} segments")


def _boxes(store: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield path of labels, type and content of each box that holds content, without recursion."""
    waiting: list[tuple[int, int, str, int]] = [(0, len(store), "", 0)]
    seen = 0
    while waiting:
        offset, end, path, depth = waiting.pop()
        label: str | None = None
        while offset < end:
            seen += 1
            if seen > _MAX_BOXES or depth > _MAX_DEPTH:
                raise ExtractError(
                    f"the image has more than {_MAX_BOXES} boxes, or more than {_MAX_DEPTH} levels of them"
                )
            start, stop, kind = _box(store, offset, end)
            here = "/".join(filter(None, (path, label)))
            if kind == b"jumd":
                label = _label(store[start:stop])
            elif kind == b"jumb":
                waiting.append((start, stop, here, depth + 1))
            else:
                yield here, kind, store[start:stop]
            offset = stop


def _box(store: bytes, offset: int, end: int) -> tuple[int, int, bytes]:
    size, kind, start = int.from_bytes(store[offset : offset + 4], "big"), store[offset + 4 : offset + 8], offset + 8
    if size == 1:
        size, start = int.from_bytes(store[offset + 8 : offset + 16], "big"), offset + 16
    stop = end if size == 0 else offset + size
    if start > end or stop > end or stop < start:
        raise ExtractError("a JUMBF box is longer than the box that holds it")
    return start, stop, kind


def _label(description: bytes) -> str | None:
    """Return the label of a superbox: after the UUID of its type and the toggles, which say whether there is one."""
    if len(description) < 18 or not description[16] & 0x02:
        return None
    return description[17:].partition(b"\x00")[0][:256].decode("utf-8", "replace")
