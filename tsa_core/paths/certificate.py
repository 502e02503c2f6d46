"""Certificates prepared for path building and validation."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from cryptography import exceptions, x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from tsa_core.paths.algorithms import certificate_signature_scheme, check_public_key
from tsa_core.paths.errors import PathError, UnsupportedAlgorithm, printable
from tsa_core.protocol.certificate import CertificateFields, certificate_fields
from tsa_core.protocol.errors import EncodingError

_POLICY_MAPPINGS: Final = x509.ObjectIdentifier("2.5.29.33")
_PROCESSED: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        _POLICY_MAPPINGS,
    }
)
"""Extensions whose meaning the path validation takes into account; any other one must not be critical."""


class PathCertificate:
    """A certificate with what path building asks of it, each part read once and when first needed."""

    def __init__(
        self, certificate: x509.Certificate, data: bytes | None = None, fields: CertificateFields | None = None
    ) -> None:
        self.certificate = certificate
        self.der = data if data is not None else certificate.public_bytes(Encoding.DER)
        fields = fields if fields is not None else certificate_fields(self.der)
        self.serial_der, self._signed_algorithm, self.issuer, self.subject, self._algorithm, self._unused_bits = fields

    def __str__(self) -> str:
        return self.name

    @classmethod
    def from_der(cls, data: bytes) -> PathCertificate:
        """Read a certificate; raises PathError for bytes that are not one."""
        try:
            fields = certificate_fields(data)
            number = fields[0]
            if number[2:] == b"\x00" or number[2] & 0x80:
                # RFC 5280 4.1.2.2; cryptography still reads them, with a warning, and will not for long.
                raise PathError("a certificate has a serial number that is not positive")
            return cls(x509.load_der_x509_certificate(data), data, fields)
        except (ValueError, IndexError, x509.InvalidVersion, EncodingError, Warning) as error:
            raise PathError(f"a certificate cannot be read: {error}") from None

    @cached_property
    def name(self) -> str:
        """The subject for error texts."""
        try:
            subject = self.certificate.subject.rfc4514_string()
        except (ValueError, Warning):
            return "a certificate whose name cannot be read"
        return f"the certificate {printable(subject, 120)!r}"

    @cached_property
    def not_before(self) -> datetime:
        """The start of validity, aware."""
        return self.certificate.not_valid_before_utc

    @cached_property
    def not_after(self) -> datetime:
        """The end of validity, aware; the last second belongs to it."""
        return self.certificate.not_valid_after_utc

    @cached_property
    def public_key(self) -> Any:
        """The public key, of a kind and size that rule V15 permits; raises a VerificationError."""
        try:
            key = self.certificate.public_key()
        except (ValueError, exceptions.UnsupportedAlgorithm) as error:
            raise UnsupportedAlgorithm(f"the key of {self.name} is not supported: {error}") from None
        check_public_key(key, self)
        return key

    def check_signed_by(self, issuer: PathCertificate) -> None:
        """Raise a VerificationError unless the issuer's key signed this, with a strong algorithm."""
        # The algorithm stands in the certificate twice, and only the inner one is signed (RFC 5280 4.1.1.2).
        if self._algorithm != self._signed_algorithm:
            raise PathError(f"the signature algorithm of {self} is not the one that was signed")
        # Nothing signs this number, and where the signature ends in zero bits any DER reader lets it pass.
        if self._unused_bits:
            raise PathError(f"the signature on {self} does not fill its octets")
        certificate = self.certificate
        try:
            scheme = certificate_signature_scheme(self._algorithm)
            scheme.verify(issuer.public_key, certificate.signature, certificate.tbs_certificate_bytes)
        except EncodingError as error:
            raise PathError(f"the signature algorithm of {self} cannot be read: {error}") from None
        except exceptions.InvalidSignature:
            raise PathError(f"the signature on {self} is not one by {issuer}") from None

    @cached_property
    def extensions(self) -> dict[x509.ObjectIdentifier, x509.Extension[Any]]:
        """The extensions by identifier; raises PathError when they cannot be read or one appears twice."""
        try:
            return {extension.oid: extension for extension in self.certificate.extensions}
        except (ValueError, Warning, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise PathError(f"the extensions of {self.name} cannot be read: {error}") from None

    def value(self, oid: x509.ObjectIdentifier) -> Any:
        """Return an extension's value, None when it is absent."""
        extension = self.extensions.get(oid)
        return extension.value if extension is not None else None

    @cached_property
    def is_ca(self) -> bool:
        """Whether basicConstraints says that it is a CA."""
        constraints = self.value(ExtensionOID.BASIC_CONSTRAINTS)
        return constraints is not None and bool(constraints.ca)

    @property
    def self_issued(self) -> bool:
        """Whether issuer and subject are the same name (RFC 5280 6.1)."""
        return self.issuer == self.subject

    @property
    def policy_mappings(self) -> bool:
        """Whether the certificate maps policies onto one another."""
        return _POLICY_MAPPINGS in self.extensions

    def check_critical_extensions(self) -> None:
        """Raise PathError for a critical extension that nobody here understands (RFC 5280 4.2)."""
        for oid, extension in self.extensions.items():
            if extension.critical and oid not in _PROCESSED:
                raise PathError(f"{self.name} has an unknown critical extension, {oid.dotted_string}")

    def check_time(self, time: datetime) -> None:
        """Raise PathError unless `time` is inside the validity."""
        if time < self.not_before:
            raise PathError(f"{self.name} is valid from {text(self.not_before)}, which is after {text(time)}")
        if time > self.not_after:
            raise PathError(f"{self.name} ended at {text(self.not_after)}, which is before {text(time)}")


def text(time: datetime) -> str:
    """Return a UTC time for error texts."""
    return f"{time:%Y-%m-%d %H:%M:%S}Z"


def by_subject(certificates: Iterable[PathCertificate]) -> dict[bytes, list[PathCertificate]]:
    """Index certificates by their encoded subject, each one once."""
    index: dict[bytes, list[PathCertificate]] = {}
    seen: set[bytes] = set()
    for certificate in certificates:
        if certificate.der not in seen:
            seen.add(certificate.der)
            index.setdefault(certificate.subject, []).append(certificate)
    return index
