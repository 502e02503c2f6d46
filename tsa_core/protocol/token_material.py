"""Puts certificates, CRLs and OCSP responses into a token, where no signature covers them (RFC 5652 5.1, RFC 5940 2).

A token of an authority holds the signer's certificate and perhaps the intermediates'. Whoever verifies it decades later
needs the rest, which nobody serves any more. A later timestamp over the token then proves that all of it existed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tsa_core.protocol import ber, der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import MAX_REPLY_OCTETS, is_token, read_token, values_of

_ID_RI_OCSP_RESPONSE: Final = der.oid("1.3.6.1.5.5.7.16.2")
_CERTIFICATES, _CRLS = 0xA0, 0xA1
_OTHER_REVOCATION_INFO: Final = 0xA1
_VERSION_WITH_OTHER_REVOCATION: Final = 5  # RFC 5652 5.1


def token_of(data: bytes) -> bytes:
    """Return the token in a TimeStampResp, or a bare token, with definite lengths; raises EncodingError."""
    try:
        found = data if is_token(data) else _in_reply(data)
        der.read(found, 0, len(found))
        read_token(found)
    except EncodingError:
        found = ber.definite(data) if is_token(data) else _in_reply(ber.definite(data))
        read_token(found)
    return found


def _in_reply(data: bytes) -> bytes:
    tag, start, end = der.read(data, 0, len(data))
    if tag != der.SEQUENCE or end != len(data):
        raise EncodingError("it is neither a TimeStampResp nor a TimeStampToken")
    parts = values_of(data[start:end])
    if len(parts) != 2 or not is_token(parts[1]):
        raise EncodingError("the TimeStampResp holds no token")
    return parts[1]


def with_material(
    token: bytes,
    *,
    certificates: Sequence[bytes] = (),
    crls: Sequence[bytes] = (),
    ocsp_responses: Sequence[bytes] = (),
) -> bytes:
    """Return the token with these DER values in its SignedData besides those that it has; each stands there once.

    Both fields are in DER order afterwards. Raises EncodingError for what is no token with definite lengths, and for a
    token that would be larger than verifiers read.
    """
    if not (certificates or crls or ocsp_responses):
        return token
    content_type, content = _parts(token, 2)
    (signed_data,) = _parts(content, 1)
    version, digests, encapsulated, *rest = _parts(signed_data)
    own_certificates, own_crls, (*signers,) = _optional_fields(rest)
    others = [der.tlv(_OTHER_REVOCATION_INFO, _ID_RI_OCSP_RESPONSE + response) for response in ocsp_responses]
    new_certificates = {*own_certificates, *certificates}
    new_crls = {*own_crls, *crls, *others}
    if any(value[0] == _OTHER_REVOCATION_INFO for value in new_crls):
        version = der.integer(_VERSION_WITH_OTHER_REVOCATION)
    changed = der.sequence(
        version,
        digests,
        encapsulated,
        der.tlv(_CERTIFICATES, b"".join(sorted(new_certificates))) if new_certificates else b"",
        der.tlv(_CRLS, b"".join(sorted(new_crls))) if new_crls else b"",
        *signers,
    )
    result = der.sequence(der.oid(oids.ID_SIGNED_DATA), der.explicit(0, changed))
    assert content_type == der.oid(oids.ID_SIGNED_DATA)  # noqa: S101 - read_token has seen to it
    if len(result) > MAX_REPLY_OCTETS:
        raise EncodingError(
            f"with {len(crls) + len(ocsp_responses)} CRLs and OCSP responses the token has {len(result)} bytes; "
            f"verifiers read at most {MAX_REPLY_OCTETS}. An OCSP response is smaller than a CRL"
        )
    return result


def _optional_fields(rest: Sequence[bytes]) -> tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...]]:
    certificates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    remaining = list(rest)
    if remaining and remaining[0][0] == _CERTIFICATES:
        certificates = _parts(remaining.pop(0))
    if remaining and remaining[0][0] == _CRLS:
        crls = _parts(remaining.pop(0))
    return certificates, crls, tuple(remaining)


def _parts(encoded: bytes, count: int | None = None) -> tuple[bytes, ...]:
    _, start, end = der.read(encoded, 0, len(encoded))
    parts = values_of(encoded[start:end])
    if count is not None and len(parts) != count:
        raise EncodingError("the token does not have the parts that it must have")
    return parts
