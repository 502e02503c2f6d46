"""What the CA/Browser Forum's code signing requirements ask of a timestamp certificate and its CAs (version 3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tsa_core.conformance.chains.contents import crl_urls, issuer_urls, key_complaint, other_usages
from tsa_core.conformance.chains.rule import ChainCase, NotJudged, Rule, extension, rule
from tsa_core.paths.certificate import serial_number as serial_number_of
from tsa_core.paths.chains import title

_VALIDITY_MONTHS: Final = 135
KEY_MONTHS: Final = 15
"""How long a private key may be used, in months (CSBR 6.3.2)."""
_SHA_2: Final = frozenset({"sha256", "sha384", "sha512"})
_SERIAL_BITS: Final = 64
_NEVER_OF_A_CA: Final = {
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
}


@rule("csbr-digest", clause="CSBR 6.8")
def digest(case: ChainCase) -> str | None:
    """Tokens are signed with the digest with which the TSA's certificate is signed."""
    algorithm, signed = case.token_algorithm(), case.leaf.signature_hash_algorithm
    if algorithm is None or signed is None:
        raise NotJudged("the key or the certificate's signature has no digest of its own")
    if algorithm.digest.name == signed.name:
        return None
    return (
        f"tokens are signed with {algorithm.digest.name}, the {title(case.leaf)} with {signed.name}; set signer_hash, "
        "or have the certificate issued with the other digest"
    )


@rule("csbr-key", clause="CSBR 6.1.5.2")
def key(case: ChainCase) -> str | None:
    """The TSA's key is RSA of 3072 bits or more, or on P-256, P-384 or P-521."""
    return key_complaint(case.leaf, rsa_bits=3072)


@rule("csbr-authority-keys", clause="CSBR 6.1.5.1")
def authority_keys(case: ChainCase) -> str | None:
    """CAs' keys are RSA of 4096 bits or more, or on P-256, P-384 or P-521."""
    complaints = (key_complaint(certificate, rsa_bits=4096) for certificate in case.authorities)
    return next(filter(None, complaints), None)


@rule("csbr-validity", clause="CSBR 6.3.2")
def validity(case: ChainCase) -> str | None:
    """The TSA's certificate is valid for 135 months at most."""
    if case.leaf.not_valid_after_utc <= _months_after(case.leaf.not_valid_before_utc, _VALIDITY_MONTHS):
        return None
    return f"the {title(case.leaf)} is valid for more than {_VALIDITY_MONTHS} months"


@rule("csbr-key-change", clause="CSBR 6.3.2", level="should")
def key_change(case: ChainCase) -> str | None:
    """The private key is used for 15 months at most, and a private key usage period says so."""
    found = extension(case.leaf, x509.PrivateKeyUsagePeriod)
    if found is None or found.value.not_after is None:
        return f"the {title(case.leaf)} does not say when its key is replaced, which must be in {KEY_MONTHS} months"
    if found.value.not_after.replace(tzinfo=UTC) <= key_must_change(case):
        return None
    return f"the private key of the {title(case.leaf)} may sign for more than {KEY_MONTHS} months"


def key_must_change(case: ChainCase) -> datetime:
    """Return the last moment at which the TSA's private key may sign, counted from when it may sign (CSBR 6.3.2).

    It may since the begin of its private key usage period, or of its certificate where there is none.
    """
    found = extension(case.leaf, x509.PrivateKeyUsagePeriod)
    begin = found.value.not_before if found is not None else None
    first = begin.replace(tzinfo=UTC) if begin is not None else case.leaf.not_valid_before_utc
    return _months_after(first, KEY_MONTHS)


@rule("csbr-issuer", clause="CSBR 6.1.7")
def issuer(case: ChainCase) -> str | None:
    """The TSA's certificate was issued by a subordinate CA, because a root's key signs CAs only."""
    if len(case.certificates) > 2:
        return None
    return f"the {title(case.leaf)} was issued by the root itself; put an intermediate between them"


@rule("csbr-serial-number", clause="CSBR 7.1", level="should")
def serial_number(case: ChainCase) -> str | None:
    """Serial numbers hold 64 random bits or more."""
    for certificate in case.certificates:
        if serial_number_of(certificate).bit_length() < _SERIAL_BITS - 8:
            return f"the serial number of the {title(certificate)} is too short to hold {_SERIAL_BITS} random bits"
    return None


@rule("csbr-signature", clause="CSBR 7.1.3.2")
def signature(case: ChainCase) -> str | None:
    """Certificates are signed by RSA or ECDSA with SHA-2."""
    for certificate in case.certificates:
        signed = certificate.signature_hash_algorithm
        if signed is None or signed.name not in _SHA_2:
            name = signed.name if signed else certificate.signature_algorithm_oid.dotted_string
            return f"the {title(certificate)} is signed with {name}; RSA or ECDSA with SHA-2 is needed here"
    return None


@rule("csbr-names-equal", clause="CSBR 7.1.4.1")
def names_equal(case: ChainCase) -> str | None:
    """Each issuer's name equals, byte for byte, the subject name in the issuer's certificate."""
    for certificate, above in zip(case.certificates, case.authorities, strict=False):
        if certificate.issuer.public_bytes() != above.subject.public_bytes():
            return f"the issuer name in the {title(certificate)} is encoded otherwise than in its issuer's certificate"
    return None


@rule("csbr-leaf-policies", clause="CSBR 7.1.2.3 a")
def leaf_policies(case: ChainCase) -> str | None:
    """The TSA's certificate names a certificate policy; 2.23.140.1.4.2 is reserved for timestamps."""
    return _policies_complaint(case.leaf)


@rule("csbr-leaf-crl", clause="CSBR 7.1.2.3 b")
def leaf_crl(case: ChainCase) -> str | None:
    """The TSA's certificate has an http address of its issuer's CRL, not critical."""
    return _crl_complaint(case.leaf)


@rule("csbr-leaf-issuer-address", clause="CSBR 7.1.2.3 c")
def leaf_issuer_address(case: ChainCase) -> str | None:
    """The TSA's certificate has an http address of its issuer's certificate, not critical."""
    return _access_complaint(case.leaf)


@rule("csbr-leaf-key-usage", clause="CSBR 7.1.2.3 e")
def leaf_key_usage(case: ChainCase) -> str | None:
    """The TSA's key usage is there, critical, and allows digitalSignature."""
    usage = extension(case.leaf, x509.KeyUsage)
    if usage is None or not usage.critical or not usage.value.digital_signature:
        return f"the {title(case.leaf)} has no critical key usage with digitalSignature"
    return None


@rule("csbr-leaf-key-usage-alone", clause="CSBR 7.1.2.3 e", level="should")
def leaf_key_usage_alone(case: ChainCase) -> str | None:
    """The TSA's key usage allows nothing but digitalSignature."""
    usage = extension(case.leaf, x509.KeyUsage)
    if usage and (others := other_usages(usage.value, allowed=frozenset({"digital_signature"}))):
        return f"the key usage of the {title(case.leaf)} also allows {', '.join(others)}"
    return None


@rule("csbr-authority-key-identifier", clause="CSBR 7.1.2.2 h, 7.1.2.3 g")
def authority_key_identifier(case: ChainCase) -> str | None:
    """Every certificate below the root has an authority key identifier, not critical."""
    for certificate in case.certificates[:-1]:
        found = extension(certificate, x509.AuthorityKeyIdentifier)
        if found is None or found.critical:
            return f"the {title(certificate)} has no authority key identifier, or a critical one"
    return None


@rule("csbr-intermediate-extensions", clause="CSBR 7.1.2.2 a, b, c")
def intermediate_extensions(case: ChainCase) -> str | None:
    """Intermediates name a certificate policy, and have addresses of their issuer's CRL and certificate."""
    for certificate in case.intermediates:
        for complaint in (_policies_complaint, _crl_complaint, _access_complaint):
            if found := complaint(certificate):
                return found
    return None


@rule("csbr-authority-constraints", clause="CSBR 7.1.2.1 a, b; 7.1.2.2 d, e")
def authority_constraints(case: ChainCase) -> str | None:
    """CAs have critical basic constraints, and a critical key usage with keyCertSign and cRLSign."""
    for certificate in case.authorities:
        constraints, usage = extension(certificate, x509.BasicConstraints), extension(certificate, x509.KeyUsage)
        if constraints is None or not constraints.critical:
            return f"the basic constraints of the {title(certificate)} are missing or not critical"
        if usage is None or not usage.critical or not (usage.value.key_cert_sign and usage.value.crl_sign):
            return f"the {title(certificate)} has no critical key usage with keyCertSign and cRLSign"
    return None


@rule("csbr-intermediate-usage", clause="CSBR 7.1.2.2 g")
def intermediate_usage(case: ChainCase) -> str | None:
    """Intermediates list timeStamping, and neither codeSigning nor another usage of the forbidden."""
    for certificate in case.intermediates:
        usage = extension(certificate, x509.ExtendedKeyUsage)
        if usage is None or ExtendedKeyUsageOID.TIME_STAMPING not in usage.value:
            return f"the extended key usage of the {title(certificate)} does not list timeStamping"
        if forbidden := [name for oid, name in _NEVER_OF_A_CA.items() if oid in usage.value]:
            return f"the extended key usage of the {title(certificate)} lists {', '.join(forbidden)}"
    return None


@rule("csbr-root-usage", clause="CSBR 7.1.2.1 d")
def root_usage(case: ChainCase) -> str | None:
    """The root has no extended key usage."""
    if extension(case.root, x509.ExtendedKeyUsage) is None:
        return None
    return f"the root {title(case.root)} has an extended key usage; a root must not"


def _policies_complaint(certificate: x509.Certificate) -> str | None:
    if extension(certificate, x509.CertificatePolicies) is not None:
        return None
    return f"the {title(certificate)} names no certificate policy; issue it with one, such as 2.23.140.1.4.2"


def _crl_complaint(certificate: x509.Certificate) -> str | None:
    found = extension(certificate, x509.CRLDistributionPoints)
    if found is not None and not found.critical and crl_urls(certificate):
        return None
    return f"the {title(certificate)} has no http address of its issuer's CRL, or a critical one"


def _access_complaint(certificate: x509.Certificate) -> str | None:
    found = extension(certificate, x509.AuthorityInformationAccess)
    if found is not None and not found.critical and issuer_urls(certificate):
        return None
    return f"the {title(certificate)} has no http address of its issuer's certificate (caIssuers), or a critical one"


def _months_after(moment: datetime, months: int) -> datetime:
    """Return the same day so many months later; the first of the month after where there is no such day."""
    years, month = divmod(moment.month - 1 + months, 12)
    try:
        return moment.replace(year=moment.year + years, month=month + 1)
    except ValueError:
        return moment.replace(year=moment.year + years, month=month + 2, day=1)


CODE_SIGNING_RULES: Final[Sequence[Rule]] = (
    digest,
    key,
    authority_keys,
    validity,
    key_change,
    issuer,
    serial_number,
    signature,
    names_equal,
    leaf_policies,
    leaf_crl,
    leaf_issuer_address,
    leaf_key_usage,
    leaf_key_usage_alone,
    authority_key_identifier,
    intermediate_extensions,
    authority_constraints,
    intermediate_usage,
    root_usage,
)
