"""Rules of RFC 5280 and good sense that a server need not stop for, and every profile judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tsa_core.conformance.chains.path import START_RULES
from tsa_core.conformance.chains.rule import ChainCase, NotJudged, Outcome, Rule, extension, extensions, rule
from tsa_core.paths.building import PathBuilder
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.certificate import serial_number as serial_number_of
from tsa_core.paths.chains import title
from tsa_core.paths.errors import VerificationError
from tsa_core.paths.validation import Inputs
from tsa_core.protocol import oids

_WEAK: Final = frozenset({"md5", "sha1"})
_MAX_SERIAL_BITS: Final = 159  # RFC 5280: 20 octets, and the first bit is the sign
_UNDERSTOOD: Final = frozenset(
    {
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.CertificatePolicies.oid,
        x509.NameConstraints.oid,
        x509.PolicyConstraints.oid,
        x509.InhibitAnyPolicy.oid,
        x509.SubjectAlternativeName.oid,
    }
)


@rule("no-weak-signature", clause="RFC 9155; CA/B code signing 7.1.3.2")
def no_weak_signature(case: ChainCase) -> str | None:
    """No certificate below the root is signed with SHA-1 or MD5."""
    for certificate in case.certificates[:-1]:
        digest = certificate.signature_hash_algorithm
        if digest is not None and digest.name in _WEAK:
            return f"the {title(certificate)} is signed with {digest.name}, which verifiers refuse; issue it again"
    return None


@rule("version-3", clause="RFC 5280 4.1.2.1")
def version_3(case: ChainCase) -> str | None:
    """Every certificate is of version 3."""
    for certificate in case.certificates:
        if certificate.version is not x509.Version.v3:
            return f"the {title(certificate)} is of version 1, which has no extensions; issue it again"
    return None


@rule("serial-number", clause="RFC 5280 4.1.2.2")
def serial_number(case: ChainCase) -> str | None:
    """Serial numbers are positive and have 20 octets at most."""
    for certificate in case.certificates:
        number = serial_number_of(certificate)
        if number <= 0 or number.bit_length() > _MAX_SERIAL_BITS:
            return f"the serial number of the {title(certificate)} is not positive or longer than 20 octets"
    return None


@rule("key-identifiers", clause="RFC 5280 4.2.1.1")
def key_identifiers(case: ChainCase) -> str | None:
    """A certificate's authority key identifier, if there is one, is its issuer's subject key identifier."""
    for certificate, issuer in zip(case.certificates, case.authorities, strict=False):
        authority = extension(certificate, x509.AuthorityKeyIdentifier)
        subject = extension(issuer, x509.SubjectKeyIdentifier)
        if authority is None or subject is None or authority.value.key_identifier is None:
            continue
        if authority.value.key_identifier != subject.value.digest:
            return (
                f"the authority key identifier of the {title(certificate)} is not the subject key identifier of the "
                f"{title(issuer)}, so clients look for another issuer; issue it again"
            )
    return None


@rule("critical-extensions", clause="RFC 5280 4.2")
def critical_extensions(case: ChainCase) -> str | None:
    """No certificate has a critical extension that verifiers do not know."""
    for certificate in case.certificates:
        own = extensions(certificate)
        for found in own.parsed.values():
            if found.critical and found.oid not in _UNDERSTOOD:
                return (
                    f"the {title(certificate)} has the critical extension {found.oid.dotted_string}, which verifiers "
                    "do not know and must therefore refuse"
                )
        for oid, raw in own.unreadable.items():
            if raw.critical:
                return (
                    f"the {title(certificate)} has the critical extension {oid.dotted_string}, which cannot be "
                    "read, so that verifiers must refuse it"
                )
    return None


@rule("rsa-public-key", clause="RFC 3161 2.3; RFC 8017")
def rsa_pss_key(case: ChainCase) -> str | None:
    """The TSA's key is certified as rsaEncryption if it is RSA, not as RSASSA-PSS."""
    if case.leaf.public_key_algorithm_oid.dotted_string == oids.ID_RSASSA_PSS:
        return (
            f"the {title(case.leaf)} certifies its RSA key for RSASSA-PSS alone, which openssl ts and others cannot "
            "verify; certify it as rsaEncryption"
        )
    return None


@rule("private-key-usage-period", clause="RFC 5280 4.2.1.4 (RFC 3280); X.509 9.2.2.5")
def private_key_usage_period(case: ChainCase) -> str | None:
    """The TSA's private key usage period, if there is one, is not over and lies within the validity."""
    found = extension(case.leaf, x509.PrivateKeyUsagePeriod)
    if found is None:
        return None
    period, leaf = found.value, case.leaf
    # The library gives times without a zone, which the extension writes in UTC.
    first = period.not_before.replace(tzinfo=case.at.tzinfo) if period.not_before else None
    last = period.not_after.replace(tzinfo=case.at.tzinfo) if period.not_after else None
    if last is not None and case.at > last:
        return f"the private key of the {title(leaf)} may sign no longer, since {last:%Y-%m-%d %H:%M:%S}Z; renew it"
    if first is not None and case.at < first:
        return f"the private key of the {title(leaf)} may not sign before {first:%Y-%m-%d %H:%M:%S}Z"
    if last is not None and last > leaf.not_valid_after_utc:
        return f"the private key usage period of the {title(leaf)} ends after the certificate does"
    return None


@rule("valid-path", clause="RFC 5280 6.1")
def valid_path(case: ChainCase) -> str | None:
    """A verifier finds the path valid: also its name constraints and policies, which no other rule judges."""
    for other in (*START_RULES, *GENERAL_RULES):
        if other.level == "must" and other.name != "valid-path" and other.judge(case).outcome is Outcome.FAIL:
            raise NotJudged(f"the rule {other.name} is broken already")
    leaf, *intermediates, root = map(PathCertificate, case.certificates)
    inputs = Inputs(time=case.at, purposes=frozenset({ExtendedKeyUsageOID.TIME_STAMPING}))
    try:
        PathBuilder([root], intermediates, inputs).build(leaf, (), case.at)
    except VerificationError as error:
        return f"a verifier refuses this chain: {error}"
    return None


@rule("leaf-ends-first", clause="RFC 5280 6.1; decision 023", level="should")
def leaf_ends_first(case: ChainCase) -> str | None:
    """No CA's certificate ends before the TSA's, because the tokens would end with it."""
    for certificate in case.authorities:
        if certificate.not_valid_after_utc < case.leaf.not_valid_after_utc:
            return (
                f"the {title(certificate)} ends on {certificate.not_valid_after_utc:%Y-%m-%d}, before the "
                f"{title(case.leaf)} does, and the tokens with it"
            )
    return None


GENERAL_RULES: Final[Sequence[Rule]] = (
    version_3,
    serial_number,
    no_weak_signature,
    key_identifiers,
    critical_extensions,
    rsa_pss_key,
    private_key_usage_period,
    valid_path,
    leaf_ends_first,
)
