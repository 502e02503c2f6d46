"""CRLs and OCSP responses inside a token: they are heeded like any others, and nobody need have signed them.

The crls field of SignedData (RFC 5652 10.2.1, RFC 5940 2), the unsigned attribute id-aa-ets-revocationValues
(RFC 5126 6.3.4) and adbe-revocationInfoArchival (ISO 32000-1 12.8.3.3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tsa_core.paths.crl_reader import CertificateList
from tsa_core.paths.der_fields import Fields
from tsa_core.paths.ocsp_reader import OCSPResponse
from tsa_core.paths.revocation_check import Enclosed
from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import SignerInfo, Token

_ID_RI_OCSP_RESPONSE: Final = "1.3.6.1.5.5.7.16.2"
_REVOCATION_VALUES: Final = der.oid("1.2.840.113549.1.9.16.2.24")
_REVOCATION_INFO_ARCHIVAL: Final = der.oid(oids.ID_REVOCATION_INFO_ARCHIVAL)
_SOURCE: Final = "in the token"
_MAX_ENCLOSED: Final = 32
"""CRLs and OCSP responses that one token may bring; anyone can add some, and each may cost a signature check."""

_Reader = Callable[[bytes], CertificateList | OCSPResponse]
_Found = Iterator[tuple[_Reader, bytes]]


def enclosed_evidence(token: Token, info: SignerInfo, beside: bytes | None = None) -> Enclosed | None:
    """Return the CRLs and OCSP responses that came with a token; None when there are none.

    `beside` is a CRL that came beside it. What cannot be read is told as a problem and is no error: it may have been
    added by anyone.
    """
    crls: list[CertificateList] = []
    responses: list[OCSPResponse] = []
    problems: list[str] = []
    if beside is not None:
        _collect(_crl, beside, crls, responses, problems)
    for source in (_in_signed_data(token.crls), _in_unsigned_attributes(info), _in_signed_attributes(info)):
        try:
            for read, data in source:
                if len(crls) + len(responses) == _MAX_ENCLOSED:
                    raise EncodingError(f"there are more than {_MAX_ENCLOSED} of it")
                _collect(read, data, crls, responses, problems)
        except EncodingError as error:
            problems.append(f"revocation data in the token cannot be read: {error}")
    if not crls and not responses and not problems:
        return None
    return Enclosed(tuple(crls), tuple(responses), tuple(problems))


def _collect(
    read: _Reader,
    data: bytes,
    crls: list[CertificateList],
    responses: list[OCSPResponse],
    problems: list[str],
) -> None:
    try:
        evidence = read(data)
    except EncodingError as error:
        if len(problems) < _MAX_ENCLOSED:
            problems.append(f"revocation data in the token cannot be read: {error}")
        return
    if isinstance(evidence, CertificateList):
        crls.append(evidence)
    else:
        responses.append(evidence)


def _crl(data: bytes) -> CertificateList:
    return CertificateList(data, _SOURCE)


def _response(data: bytes) -> OCSPResponse:
    return OCSPResponse(data, _SOURCE)


def _basic_response(data: bytes) -> OCSPResponse:
    return OCSPResponse.from_basic(data, _SOURCE)


def _in_signed_data(content: bytes) -> _Found:
    fields = Fields(content, 0, len(content))
    while fields.tag != -1:
        if fields.tag == der.SEQUENCE:
            yield _crl, fields.any_whole()
        else:
            other = fields.enter(0xA1, "a RevocationInfoChoice")
            if other.dotted("the format of revocation data") == _ID_RI_OCSP_RESPONSE:
                yield _response, other.any_whole()


def _in_unsigned_attributes(info: SignerInfo) -> _Found:
    fields = Fields(info.unsigned_attributes, 0, len(info.unsigned_attributes))
    while fields.tag != -1:
        attribute = fields.enter(der.SEQUENCE, "an unsigned attribute")
        name = attribute.whole(der.OBJECT_IDENTIFIER, "the type of an unsigned attribute")
        if name in {_REVOCATION_VALUES, _REVOCATION_INFO_ARCHIVAL}:
            values = attribute.enter(der.SET, "the values of an unsigned attribute")
            while values.tag != -1:
                read = _basic_response if name == _REVOCATION_VALUES else _response
                yield from _lists(values.any_whole(), read)


def _in_signed_attributes(info: SignerInfo) -> _Found:
    for value in info.attributes.get(_REVOCATION_INFO_ARCHIVAL, ()):
        yield from _lists(value, _response)


def _lists(value: bytes, read_response: _Reader) -> _Found:
    """Yield what RevocationValues and RevocationInfoArchival hold: CRLs under [0], responses under [1]."""
    fields = Fields.of_sequence(value, "revocation values")
    readers: dict[int, _Reader] = {0xA0: _crl, 0xA1: read_response}
    while fields.tag != -1:
        tag = fields.tag
        if tag not in readers:
            fields.any_whole()
            continue
        values = fields.enter(tag, "revocation values").enter(der.SEQUENCE, "revocation values")
        while values.tag != -1:
            yield readers[tag], values.any_whole()
