"""The header parameters of RFC 9921: what they are over, where they stand, and whether they hold.

- 3161-ctt (270), "COSE, then timestamp": in the unprotected header, over the CBOR-encoded signature field of a
  COSE_Sign1, head of the byte string included, or over the CBOR-encoded signatures field of a COSE_Sign (3.1).
- 3161-ttc (269), "timestamp, then COSE": in the protected header, over the octets of the payload without the head of
  the byte string (3.2). It is made before the signature.

Each holds a DER TimeStampToken in a byte string. A parameter in the other header is refused: it would mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tsa_core.cose.errors import CoseError
from tsa_core.cose.items import BYTES, MAP, TAG, encode, head, items_of, read_head
from tsa_core.cose.message import CoseMessage
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.token_material import token_of

if TYPE_CHECKING:
    from tsa_core.verify import VerifiedTimestamp, Verifier

TTC: Final = 269
"""The label of the header parameter 3161-ttc: a token over the payload, which the signature covers (RFC 9921 3)."""
CTT: Final = 270
"""The label of the header parameter 3161-ctt: a token over the signature, in the unprotected header (RFC 9921 3)."""
_NAMES: Final = {TTC: "3161-ttc", CTT: "3161-ctt"}


def ctt_input(message: CoseMessage) -> bytes:
    """Return the octets whose hash a 3161-ctt token holds (RFC 9921 3.1)."""
    return message.signatures_cbor


def ttc_input(message: CoseMessage, payload: bytes | None = None) -> bytes:
    """Return the octets whose hash a 3161-ttc token holds (RFC 9921 3.2); `payload` is a detached one.

    Raises CoseError when there is no payload, or two that differ.
    """
    if message.payload is None and payload is None:
        raise CoseError("the payload is detached: 3161-ttc is over it, so it has to be given")
    if message.payload is not None and payload is not None and payload != message.payload:
        raise CoseError("the payload that was given is not the one in the message")
    found = message.payload if message.payload is not None else payload
    assert found is not None  # noqa: S101 - one of the two is there
    return found


def tokens_of(message: CoseMessage) -> dict[int, bytes]:
    """Return the DER tokens of a message by their labels; raises CoseError for one in the wrong header."""
    for label, wrong, right in (
        (CTT, message.protected, "unprotected"),
        (TTC, message.unprotected, "protected"),
    ):
        if label in wrong:
            raise CoseError(f"{_NAMES[label]} ({label}) must stand in the {right} header (RFC 9921 3)")
    found: dict[int, bytes] = {}
    for label, header in ((TTC, message.protected), (CTT, message.unprotected)):
        if label in header:
            value = header[label]
            if not isinstance(value, bytes):
                raise CoseError(f"{_NAMES[label]} ({label}) is no byte string")
            found[label] = value
    return found


def add_ctt(message: CoseMessage, timestamp: bytes) -> bytes:
    """Return the message with a 3161-ctt of this reply or token; all else stays as it was, byte for byte.

    The token must be over `ctt_input(message)`, which is not looked at here. Raises CoseError when there is one
    already, and for what is no timestamp.
    """
    check_no_ctt(message)
    items = items_of(message.unprotected_cbor, MAP, "the unprotected header", most=1 << 10)
    token = _token(timestamp)
    entry = encode(CTT) + head(BYTES, len(token)) + token
    header = head(MAP, len(items) // 2 + 1) + b"".join(items) + entry
    return message.encode(unprotected_cbor=header)


def check_no_ctt(message: CoseMessage) -> None:
    """Raise CoseError when the message has a 3161-ctt already."""
    if CTT in tokens_of(message):
        raise CoseError("the message has a 3161-ctt (270) already, and RFC 9921 has one for each message")


def protected_header_with_ttc(timestamp: bytes, parameters: Mapping[int | str, Any] | None = None) -> bytes:
    """Return the CBOR map for a protected header with a 3161-ttc of this reply or token, besides other parameters.

    The token must be over the payload. Whoever signs the message puts the map into the byte string `protected`.
    """
    given = dict(parameters or {})
    if TTC in given:
        raise CoseError("the parameters hold a 3161-ttc (269) already")
    return encode({**given, TTC: _token(timestamp)})


def verify_ctt(message: CoseMessage, verifier: Verifier) -> VerifiedTimestamp:
    """Return the verdict on the 3161-ctt of a message; raises CoseError without one, or a VerificationError.

    The signature of the message is not verified: the timestamp proves when it existed, not that it is good.
    """
    return verifier.verify_token(_found(message, CTT), artifact=ctt_input(message))


def verify_ttc(message: CoseMessage, verifier: Verifier, payload: bytes | None = None) -> VerifiedTimestamp:
    """Return the verdict on the 3161-ttc of a message; `payload` is a detached one. Errors as of `verify_ctt`."""
    return verifier.verify_token(_found(message, TTC), artifact=ttc_input(message, payload))


def _found(message: CoseMessage, label: int) -> bytes:
    tokens = tokens_of(message)
    if label not in tokens:
        raise CoseError(f"the message has no {_NAMES[label]} ({label})")
    return tokens[label]


def _token(timestamp: bytes) -> bytes:
    try:
        return token_of(timestamp)
    except EncodingError as error:
        raise CoseError(f"the timestamp cannot be put into the header: {error}") from None


def is_cose(data: bytes) -> bool:
    """Say whether data begin as a tagged COSE_Sign1 or COSE_Sign does."""
    try:
        major, argument, _ = read_head(data[:9], 0)
    except CoseError:
        return False
    return major == TAG and argument in {18, 98}
