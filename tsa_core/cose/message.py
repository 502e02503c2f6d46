"""COSE_Sign1 and COSE_Sign (RFC 9052 4): their fields as they are encoded. No signature is verified here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tsa_core.cose.errors import CoseError
from tsa_core.cose.items import ARRAY, BYTES, MAP, TAG, decode, end_of, head, items_of, read_head

MAX_MESSAGE_OCTETS: Final = 64 << 20
_SIGN1, _SIGN = 18, 98
_NULL: Final = b"\xf6"
_MAX_HEADERS: Final = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class CoseMessage:
    """A signed message; what is `bytes` and named `..._cbor` is one item as it was sent.

    `payload` is None when it is detached. `signatures_cbor` is the signature field of a COSE_Sign1, or the signatures
    field of a COSE_Sign.
    """

    tag: int | None
    is_sign1: bool
    protected_cbor: bytes
    unprotected_cbor: bytes
    payload_cbor: bytes
    signatures_cbor: bytes
    protected: Mapping[Any, Any]
    unprotected: Mapping[Any, Any]
    payload: bytes | None

    @property
    def kind(self) -> str:
        """Its name in RFC 9052."""
        return "COSE_Sign1" if self.is_sign1 else "COSE_Sign"

    def encode(self, *, unprotected_cbor: bytes | None = None) -> bytes:
        """Return the message, with another unprotected header where one is given; everything else as it was sent."""
        fields = (
            self.protected_cbor,
            self.unprotected_cbor if unprotected_cbor is None else unprotected_cbor,
            self.payload_cbor,
            self.signatures_cbor,
        )
        return (b"" if self.tag is None else head(TAG, self.tag)) + head(ARRAY, len(fields)) + b"".join(fields)


def read_message(data: bytes) -> CoseMessage:
    """Read a COSE_Sign1 or a COSE_Sign, tagged or not; raises CoseError, or ExtraMissing without cbor2."""
    if len(data) > MAX_MESSAGE_OCTETS:
        raise CoseError(f"the message has {len(data)} bytes; more than {MAX_MESSAGE_OCTETS} are not read")
    tag: int | None = None
    major, argument, offset = read_head(data, 0)
    if major == TAG:
        if argument not in {_SIGN1, _SIGN}:
            raise CoseError(f"the CBOR tag {argument} is neither COSE_Sign1 (18) nor COSE_Sign (98)")
        tag, data = argument, data[offset:]
    fields = items_of(data, ARRAY, "the COSE message", most=4)
    if len(fields) != 4:
        raise CoseError(f"the COSE message has {len(fields)} fields, not the four of a signed one")
    protected_cbor, unprotected_cbor, payload_cbor, signatures_cbor = fields
    is_sign1 = read_head(signatures_cbor, 0)[0] == BYTES
    if (not is_sign1 and read_head(signatures_cbor, 0)[0] != ARRAY) or (
        tag is not None and is_sign1 != (tag == _SIGN1)
    ):
        raise CoseError("the last field of the COSE message is neither a signature nor signatures, as its tag says")
    payload = None if payload_cbor == _NULL else _byte_string(payload_cbor, "the payload")
    protected = _byte_string(protected_cbor, "the protected header")
    return CoseMessage(
        tag=tag,
        is_sign1=is_sign1,
        protected_cbor=protected_cbor,
        unprotected_cbor=unprotected_cbor,
        payload_cbor=payload_cbor,
        signatures_cbor=signatures_cbor,
        protected=_header(protected, "the protected header") if protected else {},
        unprotected=_header(unprotected_cbor, "the unprotected header"),
        payload=payload,
    )


def _byte_string(encoded: bytes, what: str) -> bytes:
    if read_head(encoded, 0)[0] != BYTES:
        raise CoseError(f"{what} is no byte string")
    return bytes(decode(encoded))


def _header(encoded: bytes, what: str) -> dict[Any, Any]:
    """Return the parameters of a header; raises CoseError for one that stands twice (RFC 9052 3)."""
    if end_of(encoded, 0) != len(encoded):
        raise CoseError(f"bytes follow {what}")
    items = items_of(encoded, MAP, what, most=2 * _MAX_HEADERS)
    header: dict[Any, Any] = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        label = decode(key)
        if not isinstance(label, int | str) or isinstance(label, bool):
            raise CoseError(f"{what} has a label that is neither a number nor text")
        if label in header:
            raise CoseError(f"{what} has the label {label!r:.40} twice")
        header[label] = decode(value)
    return header
