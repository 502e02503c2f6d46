"""Certificates prepared for path building and validation, read tolerantly: what is odd but harmless becomes a note."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from cryptography import exceptions, x509
from cryptography.x509.oid import ExtensionOID

from tsa_core.paths.algorithms import (
    STRICT,
    AlgorithmRules,
    KeyUse,
    SignatureScheme,
    certificate_signature_scheme,
    key_use,
)
from tsa_core.paths.der_fields import Extension
from tsa_core.paths.errors import PathError, UnsupportedAlgorithm, printable
from tsa_core.paths.extensions import (
    PARSING_ERRORS,
    POLICY_MAPPINGS,
    RESTRICTING,
    Extensions,
    raw_extensions,
    read_extensions,
)
from tsa_core.paths.name_constraints import read_name_constraints
from tsa_core.paths.names import CanonicalName, comparable_name, general_names
from tsa_core.paths.notes import Note
from tsa_core.protocol import der
from tsa_core.protocol.certificate import CertificateFields, certificate_fields
from tsa_core.protocol.encodings import Encoding
from tsa_core.protocol.errors import EncodingError

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
        POLICY_MAPPINGS,
    }
)
"""Extensions whose meaning the path validation takes into account; any other one must not be critical."""
_READ_FROM_BYTES: Final[dict[x509.ObjectIdentifier, Callable[[bytes], object]]] = {
    ExtensionOID.NAME_CONSTRAINTS: read_name_constraints,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: general_names,
}
_FILTERS: Final = threading.Lock()
"""Python's warning filters are the process's: who changes and restores them must be alone."""


class PathCertificate:
    """A certificate with what path building asks of it, each part read once and when first needed."""

    def __init__(
        self, certificate: x509.Certificate, data: bytes | None = None, fields: CertificateFields | None = None
    ) -> None:
        self.certificate = certificate
        self.der = data if data is not None else certificate.public_bytes(Encoding.DER)
        fields = fields if fields is not None else certificate_fields(self.der)
        self.serial_der, self._signed_algorithm, self.issuer, self.subject = fields[:4]
        self._algorithm, self.key_algorithm, self._unused_bits = fields[4:]
        self._accepted_by: AlgorithmRules | None = None

    def __str__(self) -> str:
        return self.name

    @classmethod
    def from_der(cls, data: bytes) -> PathCertificate:
        """Read a certificate; raises PathError for bytes that are not one."""
        try:
            return cls(load_certificate(data), data)
        except (EncodingError, *PARSING_ERRORS) as error:
            raise PathError(f"a certificate cannot be read: {error}") from None

    @cached_property
    def name(self) -> str:
        """The subject for error texts."""
        try:
            subject = self.certificate.subject.rfc4514_string()
        except PARSING_ERRORS:
            return "a certificate whose name cannot be read"
        return f"the certificate {printable(subject, 120)!r}"

    @cached_property
    def subject_name(self) -> CanonicalName:
        """The subject as RFC 5280 7.1 compares it."""
        return comparable_name(self.subject)

    @cached_property
    def issuer_name(self) -> CanonicalName:
        """The issuer as RFC 5280 7.1 compares it."""
        return comparable_name(self.issuer)

    @cached_property
    def self_issued(self) -> bool:
        """Whether issuer and subject are the same name (RFC 5280 6.1)."""
        return self.issuer == self.subject or self.issuer_name == self.subject_name

    @cached_property
    def not_before(self) -> datetime:
        """The start of validity, aware."""
        return self.certificate.not_valid_before_utc

    @cached_property
    def not_after(self) -> datetime:
        """The end of validity, aware; the last second belongs to it."""
        return self.certificate.not_valid_after_utc

    @property
    def public_key(self) -> Any:
        """The public key, of a kind and size that rule V15 permits; raises a VerificationError."""
        return self.key_under(STRICT)

    def key_under(self, rules: AlgorithmRules) -> Any:
        """Return the public key, of a kind and size that these rules permit; raises a VerificationError."""
        if self._accepted_by is not rules:
            if self._accepted_by != rules:
                rules.check_key(self._public_key, self)
            self._accepted_by = rules
        return self._public_key

    @cached_property
    def _public_key(self) -> Any:
        try:
            return self.certificate.public_key()
        except (ValueError, exceptions.UnsupportedAlgorithm) as error:
            raise UnsupportedAlgorithm(f"the key of {self.name} is not supported: {error}") from None

    @cached_property
    def key_use(self) -> KeyUse:
        """Which signatures the key is for; raises UnsupportedAlgorithm when its identifier cannot be read."""
        try:
            return key_use(self.key_algorithm)
        except EncodingError as error:
            raise UnsupportedAlgorithm(f"the key algorithm of {self.name} cannot be read: {error}") from None

    def check_signature(
        self, scheme: SignatureScheme, signature: bytes, message: bytes | memoryview, rules: AlgorithmRules = STRICT
    ) -> None:
        """Raise a VerificationError, or cryptography's InvalidSignature, unless this key made the signature."""
        self.key_use.check(scheme, self)
        scheme.verify(self.key_under(rules), signature, message)

    def check_signed_by(self, issuer: PathCertificate, rules: AlgorithmRules = STRICT) -> None:
        """Raise a VerificationError unless the issuer's key signed this, with an algorithm that the rules permit."""
        # The algorithm stands in the certificate twice, and only the inner one is signed (RFC 5280 4.1.1.2).
        if self._algorithm != self._signed_algorithm:
            raise PathError(f"the signature algorithm of {self} is not the one that was signed")
        # Nothing signs this number, and where the signature ends in zero bits any DER reader lets it pass.
        if self._unused_bits:
            raise PathError(f"the signature on {self} does not fill its octets")
        certificate = self.certificate
        try:
            scheme = certificate_signature_scheme(self._algorithm, rules)
            issuer.check_signature(scheme, certificate.signature, certificate.tbs_certificate_bytes, rules)
        except EncodingError as error:
            raise PathError(f"the signature algorithm of {self} cannot be read: {error}") from None
        except exceptions.InvalidSignature:
            raise PathError(f"the signature on {self} is not one by {issuer}") from None

    @cached_property
    def _extensions(self) -> Extensions:
        try:
            return read_extensions(self.certificate, self.der)
        except EncodingError as error:
            raise PathError(f"the extensions of {self.name} cannot be read: {error}") from None

    @cached_property
    def extensions(self) -> dict[x509.ObjectIdentifier, x509.Extension[Any]]:
        """The extensions that can be read, by identifier; raises PathError when one appears twice."""
        return self._extensions.parsed

    @cached_property
    def unreadable_extensions(self) -> dict[x509.ObjectIdentifier, Extension]:
        """The extensions whose value nobody here can read, by identifier; raises PathError when one appears twice."""
        return {oid: raw for oid, raw in self._extensions.unreadable.items() if not _is_read_from_bytes(oid, raw)}

    @cached_property
    def _raw_extensions(self) -> dict[x509.ObjectIdentifier, Extension]:
        try:
            return raw_extensions(self.der)
        except EncodingError as error:
            raise PathError(f"the extensions of {self.name} cannot be read: {error}") from None

    def value(self, oid: x509.ObjectIdentifier) -> Any:
        """Return an extension's value, None when it is absent or cannot be read."""
        extension = self.extensions.get(oid)
        return extension.value if extension is not None else None

    def raw_value(self, oid: x509.ObjectIdentifier) -> bytes | None:
        """Return an extension's value as it is encoded, None when it is absent."""
        if oid not in self.extensions and oid not in self._extensions.unreadable:
            return None
        return self._raw_extensions[oid].value

    @cached_property
    def is_ca(self) -> bool:
        """Whether basicConstraints says that it is a CA."""
        constraints = self.value(ExtensionOID.BASIC_CONSTRAINTS)
        return constraints is not None and bool(constraints.ca)

    @cached_property
    def policies(self) -> frozenset[str]:
        """The identifiers of its policies; none where it has no such extension."""
        policies = self.value(ExtensionOID.CERTIFICATE_POLICIES) or ()
        return frozenset(policy.policy_identifier.dotted_string for policy in policies)

    def check_critical_extensions(self) -> None:
        """Raise PathError for an extension that must be understood and is not (RFC 5280 4.2).

        That is a critical one that nobody here knows or that cannot be read, and one that restricts the
        certificate and cannot be read, critical or not.
        """
        if self._extension_in_the_way:
            raise PathError(f"{self.name} has {self._extension_in_the_way}")

    @cached_property
    def _extension_in_the_way(self) -> str:
        for oid, extension in self.extensions.items():
            if extension.critical and oid not in _PROCESSED:
                return f"an unknown critical extension, {oid.dotted_string}"
        for oid, raw in self.unreadable_extensions.items():
            if raw.critical or oid in RESTRICTING:
                return f"an extension that cannot be read, {oid.dotted_string}"
        return ""

    def check_time(self, time: datetime) -> None:
        """Raise PathError unless `time` is inside the validity."""
        if time < self.not_before:
            raise PathError(f"{self.name} is valid from {text(self.not_before)}, which is after {text(time)}")
        if time > self.not_after:
            raise PathError(f"{self.name} ended at {text(self.not_after)}, which is before {text(time)}")

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """What breaks a rule of RFC 5280 and was accepted nonetheless."""
        found = []
        if not _is_positive(self.serial_der):
            found.append(
                Note(
                    code="serial-not-positive",
                    text=f"{self.name} has a serial number that is not positive (RFC 5280 4.1.2.2)",
                )
            )
        found.extend(
            Note(
                code="extension-unreadable",
                text=f"{self.name} has an extension that cannot be read and is not critical, {oid.dotted_string}",
            )
            for oid in self.unreadable_extensions
        )
        return tuple(found)


def load_certificate(data: bytes) -> x509.Certificate:
    """Return the certificate of these bytes; raises EncodingError or one of PARSING_ERRORS.

    `cryptography` warns of a serial number that is not positive; here it is a note (see PathCertificate.notes).
    """
    if _is_positive(certificate_fields(data).serial_number):
        return x509.load_der_x509_certificate(data)
    with _without_warnings():
        return x509.load_der_x509_certificate(data)


def load_pem_certificates(data: bytes) -> list[x509.Certificate]:
    """Return the certificates of a PEM file; raises one of PARSING_ERRORS. Serial numbers: as above."""
    with _without_warnings():
        return x509.load_pem_x509_certificates(data)


@contextmanager
def _without_warnings() -> Iterator[None]:
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def serial_number(certificate: x509.Certificate) -> int:
    """Return a certificate's serial number; that of `cryptography` warns of one that is not positive."""
    encoded = certificate_fields(certificate.public_bytes(Encoding.DER)).serial_number
    _, start, end = der.read(encoded, 0, len(encoded))
    return int.from_bytes(encoded[start:end], "big", signed=True)


def _is_read_from_bytes(oid: x509.ObjectIdentifier, raw: Extension) -> bool:
    """Say whether path validation reads an extension itself, X.400 and EDI names included."""
    reader = _READ_FROM_BYTES.get(oid)
    try:
        return reader is not None and bool(reader(raw.value))
    except EncodingError:
        return False


def _is_positive(serial_number: bytes) -> bool:
    _, start, end = der.read(serial_number, 0, len(serial_number))
    return serial_number[start:end] < b"\x80" and any(serial_number[start:end])


def text(time: datetime) -> str:
    """Return a UTC time for error texts."""
    return f"{time:%Y-%m-%d %H:%M:%S}Z"


def by_subject(certificates: Iterable[PathCertificate]) -> dict[CanonicalName, list[PathCertificate]]:
    """Index certificates by their subject, each one once."""
    index: dict[CanonicalName, list[PathCertificate]] = {}
    seen: set[bytes] = set()
    for certificate in certificates:
        if certificate.der not in seen:
            seen.add(certificate.der)
            index.setdefault(certificate.subject_name, []).append(certificate)
    return index
