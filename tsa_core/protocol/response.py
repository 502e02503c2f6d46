"""TimeStampResp without a token: every rejection, with its exact failInfo (RFC 3161 2.4.2)."""

from __future__ import annotations

from functools import lru_cache

from tsa_core.protocol import der
from tsa_core.protocol.status import PKIFailureInfo, PKIStatus

GRANTED_STATUS_INFO = der.sequence(der.integer(PKIStatus.GRANTED))


@lru_cache(maxsize=256)
def encode_rejection(failure: PKIFailureInfo, text: str) -> bytes:
    """Return a TimeStampResp that refuses, with one UTF8String of text and one bit of failInfo."""
    return der.sequence(
        der.sequence(
            der.integer(PKIStatus.REJECTION),
            der.sequence(der.tlv(der.UTF8_STRING, text.encode("utf-8"))),
            der.named_bits(failure),
        )
    )
