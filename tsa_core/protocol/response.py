"""TimeStampResp without a token: every rejection, with its exact failInfo (RFC 3161 2.4.2)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.status import PKIFailureInfo, PKIStatus

GRANTED_STATUS_INFO = der.sequence(der.integer(PKIStatus.GRANTED))


@lru_cache(maxsize=256)
def encode_rejection(failure: PKIFailureInfo, text: str) -> bytes:
    """Return a TimeStampResp that refuses, with one UTF8String of text and one bit of failInfo.

    The text may come from a plugin. An empty text is replaced by the failure's name, because an empty PKIFreeText says
    nothing. A character that cannot be encoded in UTF-8 becomes a question mark.
    """
    return der.sequence(
        der.sequence(
            der.integer(PKIStatus.REJECTION),
            der.sequence(der.tlv(der.UTF8_STRING, (text or failure.text).encode("utf-8", "replace"))),
            der.named_bits(failure),
        )
    )


class SignedParts(NamedTuple):
    """The parts of a granted reply that its signature depends on."""

    status: bytes
    tst_info: bytes
    signed_attributes: bytes
    signature: bytes


def signed_parts(response: bytes) -> SignedParts:
    """Return the signed parts of a granted TimeStampResp that this server has made.

    Raises EncodingError when `response` is not DER of a TimeStampResp with one SignerInfo.
    """
    size = len(response)

    def enter(offset: int, end: int, tag: int) -> tuple[int, int]:
        found, start, stop = der.read(response, offset, end)
        if found != tag:
            raise EncodingError(f"the value at byte {offset} of the reply has tag {found:#04x}, not {tag:#04x}")
        return start, stop

    def enter_last(offset: int, end: int, tag: int) -> tuple[int, int]:
        start, stop = enter(offset, end, tag)
        if stop != end:
            raise EncodingError(f"something follows the value at byte {offset} of the reply")
        return start, stop

    offset, end = enter_last(0, size, der.SEQUENCE)  # TimeStampResp
    start, stop = enter(offset, end, der.SEQUENCE)  # PKIStatusInfo
    status = response[slice(*enter(start, stop, der.INTEGER))]
    offset, end = enter_last(stop, end, der.SEQUENCE)  # ContentInfo
    offset = enter(offset, end, der.OBJECT_IDENTIFIER)[1]
    offset, end = enter_last(*enter_last(offset, end, 0xA0), der.SEQUENCE)  # SignedData
    offset = enter(offset, end, der.INTEGER)[1]
    offset = enter(offset, end, der.SET)[1]
    content, offset = enter(offset, end, der.SEQUENCE)  # EncapsulatedContentInfo
    inner = enter(content, offset, der.OBJECT_IDENTIFIER)[1]
    tst_info = response[slice(*enter_last(*enter_last(inner, offset, 0xA0), der.OCTET_STRING))]
    while response[offset : offset + 1] in {b"\xa0", b"\xa1"}:  # certificates and crls
        offset = der.read(response, offset, end)[2]
    offset, end = enter_last(*enter_last(offset, end, der.SET), der.SEQUENCE)  # SignerInfo: there is only one
    for tag in (der.INTEGER, der.SEQUENCE, der.SEQUENCE):  # version, sid, digestAlgorithm
        offset = enter(offset, end, tag)[1]
    attributes = enter(offset, end, 0xA0)
    offset = enter(attributes[1], end, der.SEQUENCE)[1]
    signature = enter(offset, end, der.OCTET_STRING)
    return SignedParts(status, tst_info, response[slice(*attributes)], response[slice(*signature)])
