"""What the caller trusts, and certificates prepared for path building."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from cryptography import exceptions, x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from tsa_core.protocol.certificate import CertificateFields, certificate_fields
from tsa_core.protocol.errors import EncodingError
from tsa_core.verify.algorithms import certificate_signature_scheme, check_public_key
from tsa_core.verify.errors import PathError, SignatureInvalid, UnsupportedAlgorithm, printable

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
        scheme = certificate_signature_scheme(self._algorithm)
        certificate = self.certificate
        try:
            scheme.verify(issuer.public_key, certificate.signature, certificate.tbs_certificate_bytes)
        except SignatureInvalid:
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


@dataclass(frozen=True, kw_only=True)
class TrustStore:
    """The roots that the caller trusts, and certificates that may help to reach them but carry no trust.

    `certificates` are intermediates, and the signer's own certificate where a token does not hold it.
    """

    roots: tuple[x509.Certificate, ...]
    certificates: tuple[x509.Certificate, ...] = ()

    def __post_init__(self) -> None:
        if not self.roots:
            raise PathError("no root certificate was given, so nothing can be trusted")

    @cached_property
    def prepared_roots(self) -> tuple[PathCertificate, ...]:
        """The roots, prepared for path building once for every verifier that uses this store."""
        return tuple(map(PathCertificate, self.roots))

    @cached_property
    def prepared_certificates(self) -> tuple[PathCertificate, ...]:
        """The other certificates, prepared likewise."""
        return tuple(map(PathCertificate, self.certificates))

    @classmethod
    def from_chain(cls, chain: bytes) -> TrustStore:
        """Read a chain as an authority serves it: signer, intermediates, root; PEM in any order, or one DER.

        The self-signed certificates are the roots. Raises PathError when there is none, because then nothing
        in the file says what is to be trusted.
        """
        certificates = read_certificates(chain)
        roots = tuple(c for c in certificates if is_self_signed(c))
        if not roots:
            raise PathError(
                "the certificate chain holds no self-signed root; give the root with --root-certificates "
                "and this file with --intermediate-certificates"
            )
        return cls(roots=roots, certificates=tuple(c for c in certificates if c not in roots))

    @classmethod
    def from_files(cls, roots: bytes, intermediates: bytes = b"") -> TrustStore:
        """Read roots and intermediates, each PEM with any number of certificates or one DER certificate."""
        return cls(
            roots=read_certificates(roots),
            certificates=read_certificates(intermediates) if intermediates else (),
        )


def read_certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates in `data`, PEM or one DER; raises PathError when there is none to read."""
    if b"-----BEGIN" not in data and not data.startswith(b"\x30"):
        raise PathError("the certificates cannot be read: they are neither PEM nor DER")
    try:
        if b"-----BEGIN" in data:
            return tuple(x509.load_pem_x509_certificates(data))
        return (x509.load_der_x509_certificate(data),)
    except (ValueError, x509.InvalidVersion) as error:
        raise PathError(f"the certificates cannot be read: {error}") from None


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Say whether a certificate is signed with its own key."""
    if certificate.issuer != certificate.subject:
        return False
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm):
        return False
    return True


def by_subject(certificates: Iterable[PathCertificate]) -> dict[bytes, list[PathCertificate]]:
    """Index certificates by their encoded subject, each one once."""
    index: dict[bytes, list[PathCertificate]] = {}
    seen: set[bytes] = set()
    for certificate in certificates:
        if certificate.der not in seen:
            seen.add(certificate.der)
            index.setdefault(certificate.subject, []).append(certificate)
    return index
