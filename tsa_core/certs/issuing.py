"""Certificates and certification requests, assembled from DER and signed by a Signer.

cryptography's builders sign with its own private keys only, and the keys here are where a Signer reaches them: in a
KMS, in an HSM, in a file. So names, keys and extensions are encoded by cryptography, and what holds them together,
the TBSCertificate (RFC 5280 4.1) and the CertificationRequestInfo (RFC 2986 4.1), is put together from DER.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from tsa_core.api import ConfigError, PublicKey, SignatureAlgorithm, Signer, SignerError
from tsa_core.paths.errors import printable
from tsa_core.paths.extensions import PARSING_ERRORS, read_extensions
from tsa_core.protocol import der, oids
from tsa_core.protocol.encodings import Encoding, PublicFormat
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.signatures import public_key_info
from tsa_core.values import Value

Extensions: TypeAlias = Sequence[tuple[x509.ExtensionType, bool]]
"""Extensions in their order, each with its criticality."""

SIGN_SECONDS: Final = 30.0
"""What a signature may take: nobody waits at the other end, and some HSMs are slow with large keys."""

_V3: Final = 2
_EXTENSION_REQUEST: Final = "1.2.840.113549.1.9.14"  # RFC 2985 5.4.2
_FIRST_GENERALIZED_YEAR: Final = 2050
_RSA_IDENTIFIERS: Final = {
    "sha256": oids.SHA256_WITH_RSA,
    "sha384": oids.SHA384_WITH_RSA,
    "sha512": oids.SHA512_WITH_RSA,
}


class Issuer(Value):
    """Who signs a certificate: a CA's name, its key, and the key identifier that its own certificate carries.

    `key_identifier` None computes it from the key as RFC 5280 4.2.1.2 (1) says.
    """

    name: x509.Name
    signer: Signer
    key_identifier: bytes | None = None

    @classmethod
    def of(cls, certificate: x509.Certificate, signer: Signer) -> Issuer:
        """Return the issuer that `certificate` certifies; raises ConfigError when the signer's key is another."""
        if public_key_info(signer.public_key) != certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        ):
            raise ConfigError(f"the certificate {_subject(certificate)} is for another key")
        try:
            found = read_extensions(certificate, certificate.public_bytes(Encoding.DER))
        except (EncodingError, *PARSING_ERRORS) as error:
            raise ConfigError(f"the certificate {_subject(certificate)} cannot be read: {error}") from None
        if ExtensionOID.SUBJECT_KEY_IDENTIFIER in found.unreadable:
            raise ConfigError(
                f"the subject key identifier of the certificate {_subject(certificate)} cannot be read; issue it again"
            )
        identifier = found.parsed.get(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
        digest = identifier.value.digest if identifier is not None else None
        return cls(name=certificate.subject, signer=signer, key_identifier=digest)

    @property
    def authority_key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """The extension that leads from a certificate to this issuer's."""
        if self.key_identifier is not None:
            return x509.AuthorityKeyIdentifier(self.key_identifier, None, None)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.signer.public_key)


def _subject(certificate: x509.Certificate) -> str:
    return repr(printable(certificate.subject.rfc4514_string()))


def certificate_name(common_name: str, *, organization: str | None = None, country: str | None = None) -> x509.Name:
    """Return a name of country, organization and common name, in the order of the X.500 tree.

    Raises ConfigError for values that the attributes cannot hold.
    """
    try:
        parts = (
            (NameOID.COUNTRY_NAME, country),
            (NameOID.ORGANIZATION_NAME, organization),
            (NameOID.COMMON_NAME, common_name),
        )
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])
    except ValueError as error:
        raise ConfigError(f"a name in a certificate cannot be so: {error}") from None


def issue_certificate(
    *,
    subject: x509.Name,
    public_key: PublicKey,
    issuer: Issuer,
    extensions: Extensions,
    not_before: datetime,
    not_after: datetime,
    timeout: float = SIGN_SECONDS,
) -> x509.Certificate:
    """Return a v3 certificate signed by the issuer's signer, with a random serial number of 159 bits.

    The times are aware; fractions of a second are dropped. Raises SignerError when the signer fails or its
    signature does not verify.
    """
    algorithm = signature_identifier(issuer.signer.algorithm)
    tbs = der.sequence(
        der.explicit(0, der.integer(_V3)),
        der.integer(x509.random_serial_number()),
        algorithm,
        issuer.name.public_bytes(),
        der.sequence(_time(not_before), _time(not_after)),
        subject.public_bytes(),
        public_key_info(public_key),
        der.explicit(3, _extensions(extensions)),
    )
    return x509.load_der_x509_certificate(_signed(tbs, algorithm, issuer.signer, timeout))


def issue_request(
    *, subject: x509.Name, signer: Signer, extensions: Extensions, timeout: float = SIGN_SECONDS
) -> x509.CertificateSigningRequest:
    """Return a PKCS #10 request for the signer's own key, signed by it; raises SignerError as issuing does."""
    attribute = der.sequence(der.oid(_EXTENSION_REQUEST), der.set_of(_extensions(extensions)))
    info = der.sequence(
        der.integer(0), subject.public_bytes(), public_key_info(signer.public_key), der.explicit(0, attribute)
    )
    return x509.load_der_x509_csr(_signed(info, signature_identifier(signer.algorithm), signer, timeout))


def signature_identifier(algorithm: SignatureAlgorithm) -> bytes:
    """Return the AlgorithmIdentifier of a certificate's signature.

    It is the one of a SignerInfo but for RSA with PKCS #1 v1.5, where a certificate names the digest too
    (RFC 4055 5).
    """
    if algorithm.scheme == "rsa-pkcs1v15":
        return der.sequence(der.oid(_RSA_IDENTIFIERS[algorithm.digest.name]), der.null())
    return algorithm.identifier


def _signed(content: bytes, identifier: bytes, signer: Signer, timeout: float) -> bytes:
    signature = signer.sign(content, timeout=timeout)
    if not signer.algorithm.is_valid(signer.public_key, signature, content):
        raise SignerError(f"the signature of {signer.algorithm.name} does not verify under the signer's public key")
    return der.sequence(content, identifier, der.tlv(der.BIT_STRING, b"\x00" + signature))


def _extensions(extensions: Extensions) -> bytes:
    return der.sequence(
        *(
            der.sequence(
                der.oid(extension.oid.dotted_string),
                # DER leaves a value out that is the default, and FALSE is.
                *([der.boolean(True)] if critical else []),
                der.octet_string(extension.public_bytes()),
            )
            for extension, critical in extensions
        )
    )


def _time(moment: datetime) -> bytes:
    """Return a Time: UTCTime to 2049, GeneralizedTime after (RFC 5280 4.1.2.5)."""
    moment = moment.astimezone(UTC)
    if moment.year >= _FIRST_GENERALIZED_YEAR:
        return der.tlv(der.GENERALIZED_TIME, f"{moment:%Y%m%d%H%M%S}Z".encode("ascii"))
    return der.tlv(der.UTC_TIME, f"{moment:%y%m%d%H%M%S}Z".encode("ascii"))
