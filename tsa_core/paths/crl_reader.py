"""Reading CRLs by hand: their bounds and extensions at once, their entries only while looking for a certificate.

    CertificateList ::= SEQUENCE { tbsCertList, signatureAlgorithm, signatureValue }  (RFC 5280 5.1)

A CRL of a million entries is walked over, not taken apart, so it needs no memory beyond its own bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import Final, NamedTuple

from cryptography.x509 import ReasonFlags

from tsa_core.paths.der_fields import Extensions, Fields, read_extension_list, read_generalized_time, read_integer
from tsa_core.paths.distribution_points import (
    IssuingDistributionPoint,
    only_directory_name,
    read_issuing_point,
)
from tsa_core.paths.names import CanonicalName, comparable_name
from tsa_core.paths.reasons import read_reason
from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError

REASON_CODE: Final = "2.5.29.21"
HOLD_INSTRUCTION_CODE: Final = "2.5.29.23"
INVALIDITY_DATE: Final = "2.5.29.24"
CERTIFICATE_ISSUER: Final = "2.5.29.29"
CRL_NUMBER: Final = "2.5.29.20"
DELTA_CRL_INDICATOR: Final = "2.5.29.27"
ISSUING_DISTRIBUTION_POINT: Final = "2.5.29.28"
AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
FRESHEST_CRL: Final = "2.5.29.46"
EXPIRED_CERTS_ON_CRL: Final = "2.5.29.60"

_PROCESSED: Final = frozenset(
    {
        CRL_NUMBER,
        DELTA_CRL_INDICATOR,
        ISSUING_DISTRIBUTION_POINT,
        AUTHORITY_KEY_IDENTIFIER,
        FRESHEST_CRL,
        EXPIRED_CERTS_ON_CRL,
    }
)
_PROCESSED_IN_ENTRIES: Final = frozenset({REASON_CODE, HOLD_INSTRUCTION_CODE, INVALIDITY_DATE, CERTIFICATE_ISSUER})
_CRITICAL: Final = der.boolean(True)
_CERTIFICATE_ISSUER_OID: Final = der.oid(CERTIFICATE_ISSUER)
_VERSION_2: Final = der.integer(1)
_MAX_REMEMBERED: Final = 64


class Entry(NamedTuple):
    """What a CRL or an OCSP response says of a certificate that was revoked."""

    revocation_date: datetime | None
    """None when the entry cannot be read: then it counts as always revoked."""
    reason: ReasonFlags | None
    invalidity_date: datetime | None = None


class CertificateList:
    """A CRL: `source` names where it came from; times are aware; names and numbers are as they are encoded."""

    def __init__(self, der_bytes: bytes, source: str = "") -> None:
        """Read a DER CRL; raises EncodingError."""
        self.der = der_bytes
        self.source = source
        outer = Fields.of_sequence(der_bytes, "the CRL")
        start = outer.position
        tbs = outer.enter(der.SEQUENCE, "tbsCertList")
        self._signed = (start, outer.position)
        self.signature_algorithm = outer.whole(der.SEQUENCE, "the signature algorithm")
        self.signature = outer.bit_string("the signature")
        outer.finish("the CRL")
        version_2 = tbs.tag == der.INTEGER
        if version_2 and tbs.any_whole() != _VERSION_2:
            raise EncodingError("its version is not one that exists")
        if tbs.whole(der.SEQUENCE, "the signed algorithm") != self.signature_algorithm:
            raise EncodingError("its signature algorithm is not the one that was signed")
        self.issuer = tbs.whole(der.SEQUENCE, "the issuer")
        self.issuer_name = comparable_name(self.issuer)
        self.this_update = tbs.time("thisUpdate")
        self.next_update = tbs.time("nextUpdate") if tbs.tag in {der.UTC_TIME, der.GENERALIZED_TIME} else None
        self._entries = (tbs.position, tbs.position)
        if tbs.tag == der.SEQUENCE:
            revoked = tbs.enter(der.SEQUENCE, "revokedCertificates")
            self._entries = (revoked.position, revoked.end)
        self.extensions: Extensions = {}
        if version_2 and tbs.tag == 0xA0:
            wrapper = tbs.enter(0xA0, "crlExtensions")
            self.extensions = read_extension_list(wrapper, "the CRL")
            wrapper.finish("crlExtensions")
        tbs.finish("tbsCertList")
        self.number = self._number(CRL_NUMBER)
        self.base_number = self._number(DELTA_CRL_INDICATOR)
        """BaseCRLNumber: of a delta CRL only."""
        point = self.extensions.get(ISSUING_DISTRIBUTION_POINT)
        self.issuing_point: IssuingDistributionPoint | None = (
            read_issuing_point(point.value, self.issuer) if point is not None else None
        )
        expired = self.extensions.get(EXPIRED_CERTS_ON_CRL)
        self.expired_certs_since = (
            read_generalized_time(expired.value, "expiredCertsOnCRL") if expired is not None else None
        )
        """expiredCertsOnCRL (X.509 9.5.2.8): certificates that ended since then stay on the list."""
        self._remembered: dict[tuple[CanonicalName, bytes], tuple[Entry, ...]] = {}
        self._signers: set[bytes] = set()

    def _number(self, oid: str) -> int | None:
        extension = self.extensions.get(oid)
        return read_integer(extension.value, "the number of the CRL") if extension is not None else None

    @property
    def signed_bytes(self) -> memoryview:
        """What the signature covers, not copied."""
        return memoryview(self.der)[slice(*self._signed)]

    @property
    def unknown_critical(self) -> str | None:
        """A critical extension of the CRL that nobody here understands, as a dotted identifier; else None."""
        unknown = [o for o, e in self.extensions.items() if e.critical and o not in _PROCESSED]
        return unknown[0] if unknown else None

    @property
    def indirect(self) -> bool:
        """Whether it may list certificates of other issuers."""
        return self.issuing_point is not None and self.issuing_point.indirect

    def is_known_signer(self, certificate: bytes) -> bool:
        """Say whether the signature was verified before with the key of this certificate."""
        return certificate in self._signers

    def remember_signer(self, certificate: bytes) -> None:
        """Remember that the signature is one with the key of this certificate; verifying 33 MB again costs."""
        if len(self._signers) < _MAX_REMEMBERED:
            self._signers.add(certificate)

    def find(self, issuer: CanonicalName, serial: bytes) -> tuple[Entry, ...]:
        """Return all entries of a certificate, by its issuer and its encoded serial number.

        A certificate that does not occur has none. Raises EncodingError when the list cannot be walked.
        """
        key = (issuer, serial)
        found = self._remembered.get(key)
        if found is None:
            walk = self._find_indirect(issuer, serial) if self.indirect else self._find_direct(serial)
            found = tuple(walk)
            if len(self._remembered) < _MAX_REMEMBERED:
                self._remembered[key] = found
        return found

    @cached_property
    def unknown_critical_in_entries(self) -> str | None:
        """A critical entry extension that nobody here understands: the list proves nothing then (RFC 5280 5.3)."""
        if self.der.find(_CRITICAL, *self._entries) < 0:
            return None  # the usual list has nothing critical at all, and is not walked for it
        for start, stop in self._walk():
            if self.der.find(_CRITICAL, start, stop) >= 0:
                try:
                    extensions = _entry_fields(self.der, start, stop)[1]
                except EncodingError:
                    return "one that cannot be read"
                for oid, extension in extensions.items():
                    if extension.critical and oid not in _PROCESSED_IN_ENTRIES:
                        return oid
        return None

    def _find_direct(self, serial: bytes) -> Iterator[Entry]:
        data, wanted = self.der, _encodings(serial)
        if all(data.find(encoding, *self._entries) < 0 for encoding in wanted):
            return
        for start, stop in self._walk():
            if data.startswith(wanted, start):
                yield _entry(data, start, stop)

    def _find_indirect(self, issuer: CanonicalName, serial: bytes) -> Iterator[Entry]:
        """Walk a list in which certificateIssuer holds from its entry on (RFC 5280 5.3.3)."""
        data, current, wanted = self.der, self.issuer_name, _encodings(serial)
        for start, stop in self._walk():
            if data.find(_CERTIFICATE_ISSUER_OID, start, stop) >= 0:
                named = _entry_fields(data, start, stop)[1].get(CERTIFICATE_ISSUER)
                if named is not None:
                    current = comparable_name(only_directory_name(named.value))
            if current == issuer and data.startswith(wanted, start):
                yield _entry(data, start, stop)

    def _walk(self) -> Iterator[tuple[int, int]]:
        """Yield where the content of each entry starts and ends; raises EncodingError."""
        data = self.der
        position, end = self._entries
        while position < end:
            size = data[position + 1] if position + 1 < end else 0x80
            if size < 0x80 and data[position] == der.SEQUENCE:
                start = position + 2
                position = start + size
            else:
                tag, start, position = der.read(data, position, end)
                if tag != der.SEQUENCE:
                    raise EncodingError("an entry of the CRL is not a SEQUENCE")
            if position > end:
                raise EncodingError("an entry of the CRL is longer than the list")
            yield start, position


def _encodings(serial: bytes) -> tuple[bytes, bytes]:
    """Return an encoded serial number as it stands in the certificate, and as careless authorities pad it."""
    _, start, end = der.read(serial, 0, len(serial))
    return serial, der.tlv(der.INTEGER, b"\x00" + serial[start:end])


def _entry_fields(data: bytes, start: int, stop: int) -> tuple[datetime, Extensions]:
    fields = Fields(data, start, stop)
    fields.enter(der.INTEGER, "the serial number of an entry")
    revocation_date = fields.time("revocationDate")
    extensions = read_extension_list(fields, "an entry") if fields.tag != -1 else {}
    fields.finish("an entry of the CRL")
    return revocation_date, extensions


def _entry(data: bytes, start: int, stop: int) -> Entry:
    try:
        revocation_date, extensions = _entry_fields(data, start, stop)
        reason, invalidity_date = reason_and_invalidity(extensions)
    except EncodingError:
        return Entry(None, None)  # it is listed; that nobody can read why makes it no better
    if any(e.critical and oid not in _PROCESSED_IN_ENTRIES for oid, e in extensions.items()):
        return Entry(None, None)
    return Entry(revocation_date, reason, invalidity_date)


def reason_and_invalidity(extensions: Extensions) -> tuple[ReasonFlags | None, datetime | None]:
    """Return what CRL entry extensions say; raises EncodingError."""
    reason, invalidity = extensions.get(REASON_CODE), extensions.get(INVALIDITY_DATE)
    return (
        read_reason(reason.value) if reason is not None else None,
        read_generalized_time(invalidity.value, "invalidityDate") if invalidity is not None else None,
    )
