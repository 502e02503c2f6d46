"""RFC 3161 timestamps in COSE messages (RFC 9921): 3161-ctt over the signature, 3161-ttc over the payload.

The extra `tsa-core[cose]` brings cbor2, which reads CBOR.
"""

from tsa_core.cose.errors import CoseError, ExtraMissing
from tsa_core.cose.message import CoseMessage, read_message
from tsa_core.cose.timestamps import (
    CTT,
    TTC,
    add_ctt,
    check_no_ctt,
    ctt_input,
    protected_header_with_ttc,
    tokens_of,
    ttc_input,
    verify_ctt,
    verify_ttc,
)

__all__ = [
    "CTT",
    "TTC",
    "CoseError",
    "CoseMessage",
    "ExtraMissing",
    "add_ctt",
    "check_no_ctt",
    "ctt_input",
    "protected_header_with_ttc",
    "read_message",
    "tokens_of",
    "ttc_input",
    "verify_ctt",
    "verify_ttc",
]
