"""Reading OCSP responses by hand (RFC 6960 4.2.1): nothing is believed yet."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from tsa_core.paths.crl_reader import Entry, reason_and_invalidity
from tsa_core.paths.der_fields import Extensions, Fields, read_extension_list, read_generalized_time, read_time
from tsa_core.paths.reasons import read_reason
from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError

ID_PKIX_OCSP_BASIC: Final = "1.3.6.1.5.5.7.48.1.1"
NONCE: Final = "1.3.6.1.5.5.7.48.1.2"
ARCHIVE_CUTOFF: Final = "1.3.6.1.5.5.7.48.1.6"
_STATUSES: Final = {
    0: "successful",
    1: "malformedRequest",
    2: "internalError",
    3: "tryLater",
    5: "sigRequired",
    6: "unauthorized",
}
_MAX_RESPONSES: Final = 4096
_MAX_CERTIFICATES: Final = 32


class CertID(NamedTuple):
    """Which certificate a response is about; `hash_algorithm` and `serial_number` as encoded."""

    hash_algorithm: bytes
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial_number: bytes


class SingleResponse(NamedTuple):
    """What a response says of one certificate: `revoked` if it was, `unknown` if the responder does not know it."""

    cert_id: CertID
    revoked: Entry | None
    unknown: bool
    this_update: datetime
    next_update: datetime | None
    extensions: Extensions


class OCSPResponse:
    """A response: `source` names where it came from; `responses` is empty unless `status` is successful."""

    def __init__(self, der_bytes: bytes, source: str = "") -> None:
        """Read a DER OCSPResponse; raises EncodingError."""
        self.der = der_bytes
        self.source = source
        outer = Fields.of_sequence(der_bytes, "the OCSP response")
        status = outer.enumerated("responseStatus")
        self.status = _STATUSES.get(status, f"status {status}")
        self.responses: tuple[SingleResponse, ...] = ()
        if status == 0:
            wrapper = outer.enter(0xA0, "responseBytes")
            inner = wrapper.enter(der.SEQUENCE, "responseBytes")
            wrapper.finish("responseBytes")
            if inner.dotted("responseType") != ID_PKIX_OCSP_BASIC:
                raise EncodingError("the OCSP response is not of the basic type")
            self._read_basic(inner.content(der.OCTET_STRING, "the response"))
            inner.finish("responseBytes")
        outer.finish("the OCSP response")

    @classmethod
    def from_basic(cls, basic: bytes, source: str = "") -> OCSPResponse:
        """Read a BasicOCSPResponse, as revocation values in signatures hold it; raises EncodingError."""
        kind = der.oid(ID_PKIX_OCSP_BASIC)
        inner = der.sequence(kind, der.octet_string(basic))
        return cls(der.sequence(b"\x0a\x01\x00", der.explicit(0, inner)), source)

    def _read_basic(self, data: bytes) -> None:
        fields = Fields.of_sequence(data, "BasicOCSPResponse")
        self.signed_bytes = fields.whole(der.SEQUENCE, "tbsResponseData")
        self.signature_algorithm = fields.whole(der.SEQUENCE, "the signature algorithm")
        self.signature = fields.bit_string("the signature")
        self.certificates: tuple[bytes, ...] = ()
        if fields.tag == 0xA0:
            wrapper = fields.enter(0xA0, "certs")
            certificates = wrapper.enter(der.SEQUENCE, "certs")
            wrapper.finish("certs")
            self.certificates = _values(certificates, _MAX_CERTIFICATES, "certificates")
        fields.finish("BasicOCSPResponse")
        self._read_data(Fields.of_sequence(self.signed_bytes, "tbsResponseData"))

    def _read_data(self, data: Fields) -> None:
        if data.tag == 0xA0 and data.content(0xA0, "version") != der.integer(0):
            raise EncodingError("the version of the OCSP response is not one that exists")
        self.responder_name: bytes | None = None
        self.responder_key_hash: bytes | None = None
        if data.tag == 0xA1:
            wrapper = data.enter(0xA1, "responderID")
            self.responder_name = wrapper.whole(der.SEQUENCE, "the responder's name")
        else:
            wrapper = data.enter(0xA2, "responderID")
            self.responder_key_hash = wrapper.content(der.OCTET_STRING, "the responder's key hash")
        wrapper.finish("responderID")
        self.produced_at = _generalized(data, "producedAt")
        singles = data.enter(der.SEQUENCE, "responses")
        responses: list[SingleResponse] = []
        while singles.tag != -1:
            if len(responses) == _MAX_RESPONSES:
                raise EncodingError(f"the OCSP response is about more than {_MAX_RESPONSES} certificates")
            responses.append(_single(singles.enter(der.SEQUENCE, "a SingleResponse")))
        self.responses = tuple(responses)
        self.extensions: Extensions = _extensions(data, "the OCSP response")
        data.finish("tbsResponseData")

    @property
    def nonce(self) -> bytes | None:
        """The nonce, without the OCTET STRING that RFC 8954 puts around it; None when there is none."""
        extension = self.extensions.get(NONCE)
        if extension is None:
            return None
        try:
            return Fields(extension.value, 0, len(extension.value)).content(der.OCTET_STRING, "the nonce")
        except EncodingError:
            return extension.value


def _values(fields: Fields, limit: int, what: str) -> tuple[bytes, ...]:
    values: list[bytes] = []
    while fields.tag != -1:
        if len(values) == limit:
            raise EncodingError(f"the OCSP response holds more than {limit} {what}")
        values.append(fields.any_whole())
    return tuple(values)


def _generalized(fields: Fields, what: str) -> datetime:
    return read_time(der.GENERALIZED_TIME, fields.content(der.GENERALIZED_TIME, what), what)


def _extensions(fields: Fields, what: str) -> Extensions:
    if fields.tag != 0xA1:
        return {}
    wrapper = fields.enter(0xA1, f"the extensions of {what}")
    extensions = read_extension_list(wrapper, what)
    wrapper.finish(f"the extensions of {what}")
    return extensions


def _single(fields: Fields) -> SingleResponse:
    identifier = fields.enter(der.SEQUENCE, "certID")
    cert_id = CertID(
        identifier.whole(der.SEQUENCE, "the hash algorithm of certID"),
        identifier.content(der.OCTET_STRING, "issuerNameHash"),
        identifier.content(der.OCTET_STRING, "issuerKeyHash"),
        identifier.whole(der.INTEGER, "the serial number of certID"),
    )
    identifier.finish("certID")
    tag = fields.tag
    revoked: tuple[datetime, Fields] | None = None
    if tag == 0xA1:
        info = fields.enter(0xA1, "revoked")
        revoked = (_generalized(info, "revocationTime"), info)
    elif tag in {0x80, 0x82}:
        if fields.content(tag, "certStatus"):
            raise EncodingError("certStatus holds what it must not hold")
    else:
        raise EncodingError("certStatus is none of good, revoked and unknown")
    this_update = _generalized(fields, "thisUpdate")
    next_update = None
    if fields.tag == 0xA0:
        wrapper = fields.enter(0xA0, "nextUpdate")
        next_update = _generalized(wrapper, "nextUpdate")
        wrapper.finish("nextUpdate")
    extensions = _extensions(fields, "a SingleResponse")
    fields.finish("a SingleResponse")
    entry = _entry(*revoked, extensions) if revoked is not None else None
    return SingleResponse(cert_id, entry, tag == 0x82, this_update, next_update, extensions)


def _entry(revocation_time: datetime, info: Fields, extensions: Extensions) -> Entry:
    reason = read_reason(info.content(0xA0, "revocationReason")) if info.tag == 0xA0 else None
    info.finish("RevokedInfo")
    # CRL entry extensions may stand among those of a SingleResponse (RFC 6960 4.4.5).
    other, invalidity_date = reason_and_invalidity(extensions)
    return Entry(revocation_time, reason if reason is not None else other, invalidity_date)


def archive_cutoff(extensions: Extensions) -> datetime | None:
    """Return archiveCutoff (RFC 6960 4.4.4): certificates that ended since are known; raises EncodingError."""
    extension = extensions.get(ARCHIVE_CUTOFF)
    return read_generalized_time(extension.value, "archiveCutoff") if extension is not None else None
