"""Why a certificate was revoked, and what that means for what it signed before (RFC 5280 5.3.1, RFC 3161 4)."""

from __future__ import annotations

from typing import Final

from cryptography.x509 import ReasonFlags

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError

REASON_CODES: Final = {
    0: ReasonFlags.unspecified,
    1: ReasonFlags.key_compromise,
    2: ReasonFlags.ca_compromise,
    3: ReasonFlags.affiliation_changed,
    4: ReasonFlags.superseded,
    5: ReasonFlags.cessation_of_operation,
    6: ReasonFlags.certificate_hold,
    8: ReasonFlags.remove_from_crl,
    9: ReasonFlags.privilege_withdrawn,
    10: ReasonFlags.aa_compromise,
}
"""CRLReason by its number; 7 is not used."""

HARMLESS_BEFORE: Final = frozenset(
    {
        ReasonFlags.unspecified,
        ReasonFlags.affiliation_changed,
        ReasonFlags.superseded,
        ReasonFlags.cessation_of_operation,
    }
)
"""Reasons that leave earlier tokens good (RFC 3161 4); giving no reason at all is not one of them."""

TEMPORARY: Final = frozenset({ReasonFlags.certificate_hold, ReasonFlags.remove_from_crl})
"""Reasons that a later CRL may take back."""

_FIRST_REASON: Final = 1
_LAST_REASON: Final = 8
ALL_REASONS: Final = sum(1 << bit for bit in range(_FIRST_REASON, _LAST_REASON + 1))
"""all-reasons of RFC 5280 6.3.2: the bits of ReasonFlags, keyCompromise (1) to aACompromise (8)."""
HOLD_REASON: Final = 1 << 6
"""certificateHold among the bits of ReasonFlags."""


def read_reason_flags(content: bytes) -> int:
    """Return the ReasonFlags of a BIT STRING's content as a number with bit n set for reason n."""
    if not content or content[0] > 7 or len(content) > 3:
        raise EncodingError("the reasons of a distribution point are not a BIT STRING of reasons")
    bits = content[1:]
    flags = 0
    for bit in range(_FIRST_REASON, min(len(bits) * 8 - content[0], _LAST_REASON + 1)):
        if bits[bit // 8] & 0x80 >> bit % 8:
            flags |= 1 << bit
    return flags


def read_reason(value: bytes) -> ReasonFlags | None:
    """Return the CRLReason, an ENUMERATED, that fills `value`; None for a number that means nothing."""
    tag, start, end = der.read(value, 0, len(value))
    if tag != 0x0A or end != len(value) or end - start != 1:
        raise EncodingError("a reason of revocation is not a CRLReason")
    return REASON_CODES.get(value[start])
