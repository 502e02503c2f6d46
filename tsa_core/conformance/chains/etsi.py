"""What ETSI asks of a time-stamping unit's certificate: EN 319 421 and EN 319 422 (V1.1.1), EN 319 412-2 and -3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from tsa_core.conformance.chains.contents import (
    NIST_CURVES,
    has_attribute,
    issuer_urls,
    key_complaint,
    without_revocation,
)
from tsa_core.conformance.chains.rule import ChainCase, Rule, extension, key_strength, rule
from tsa_core.paths.chains import issued_by, title

_SHA_2: Final = frozenset({"sha256", "sha384", "sha512"})


@rule("etsi-organization", clause="EN 319 422 6.2; EN 319 412-3 4.2.1")
def organization(case: ChainCase) -> str | None:
    """The TSA's name has an organizationName, the provider's full registered name."""
    if has_attribute(case.leaf, NameOID.ORGANIZATION_NAME):
        return None
    return f"the {title(case.leaf)} has no organizationName; issue it with the provider's registered name"


@rule("etsi-common-name", clause="EN 319 422 6.2")
def common_name(case: ChainCase) -> str | None:
    """The TSA's name has a commonName, which tells the provider's time-stamping units apart."""
    if has_attribute(case.leaf, NameOID.COMMON_NAME):
        return None
    return f"the {title(case.leaf)} has no commonName; issue it with a name of this unit"


@rule("etsi-country", clause="EN 319 422 6.2; EN 319 412-3 4.2.1")
def country(case: ChainCase) -> str | None:
    """The TSA's name has a countryName, where the provider is established."""
    if has_attribute(case.leaf, NameOID.COUNTRY_NAME):
        return None
    return f"the {title(case.leaf)} has no countryName; issue it with the provider's country"


@rule("etsi-organization-identifier", clause="EN 319 412-3 4.2.1", level="should")
def organization_identifier(case: ChainCase) -> str | None:
    """The TSA's name has an organizationIdentifier, such as VATDE-123456789."""
    if has_attribute(case.leaf, NameOID.ORGANIZATION_IDENTIFIER):
        return None
    return f"the {title(case.leaf)} has no organizationIdentifier, which a qualified provider's needs"


@rule("etsi-key-length", clause="EN 319 422 6.3; TS 119 312")
def key_length(case: ChainCase) -> str | None:
    """RSA keys have 3072 bits or more, elliptic curves 256."""
    for certificate in case.certificates:
        family, bits = key_strength(certificate)
        if family == "rsa" and bits < 3072:
            return f"the RSA key of the {title(certificate)} has {bits} bits; 3072 is the minimum here"
        if family.startswith("secp") and bits < 256:
            return f"the curve of the {title(certificate)} has {bits} bits; 256 is the minimum here"
    return None


@rule("etsi-key-algorithm", clause="EN 319 422 6.5; TS 119 312", level="should")
def key_algorithm(case: ChainCase) -> str | None:
    """The TSA's key is RSA or ECDSA, which every validation service of Europe's trusted lists verifies."""
    return key_complaint(case.leaf, rsa_bits=0, curves=NIST_CURVES | {"brainpoolP256r1", "brainpoolP384r1"})


@rule("etsi-signature-digest", clause="EN 319 422 6.5; TS 119 312")
def signature_digest(case: ChainCase) -> str | None:
    """RSA and ECDSA signatures below the root are made with SHA-2."""
    for certificate in case.certificates[:-1]:
        digest = certificate.signature_hash_algorithm
        if digest is not None and digest.name not in _SHA_2:
            return f"the {title(certificate)} is signed with {digest.name}; issue it again with SHA-256 or longer"
    return None


@rule("etsi-key-usage", clause="EN 319 422 6.4; EN 319 412-2 4.3.2")
def key_usage(case: ChainCase) -> str | None:
    """The TSA's key usage, which allows nothing but signatures, is there and critical."""
    usage = extension(case.leaf, x509.KeyUsage)
    if usage is None:
        return f"the {title(case.leaf)} has no key usage; issue it with keyUsage = critical, digitalSignature"
    if not usage.critical:
        return f"the key usage of the {title(case.leaf)} is not critical"
    return None


@rule("etsi-private-key-usage-period", clause="EN 319 421 7.6.7; EN 319 422 6.4", level="should")
def usage_period(case: ChainCase) -> str | None:
    """The private key's life ends before the certificate's, and a private key usage period says when."""
    found = extension(case.leaf, x509.PrivateKeyUsagePeriod)
    if found is None or found.value.not_after is None:
        return (
            f"the {title(case.leaf)} says nothing of how long its private key may sign; issue it with a private key "
            "usage period, so that the last token can be verified for years"
        )
    if found.value.not_after.replace(tzinfo=case.at.tzinfo) >= case.leaf.not_valid_after_utc:
        return f"the private key of the {title(case.leaf)} may sign until the certificate's last day"
    return None


@rule("etsi-authority-key-identifier", clause="EN 319 412-2 4.3.1")
def authority_key_identifier(case: ChainCase) -> str | None:
    """The TSA's certificate has an authority key identifier, with the identifier of its issuer's key."""
    found = extension(case.leaf, x509.AuthorityKeyIdentifier)
    if found is not None and found.value.key_identifier is not None:
        return None
    return f"the {title(case.leaf)} has no authority key identifier that names a key; issue it again with one"


@rule("etsi-certificate-policies", clause="EN 319 412-2 4.3.3")
def certificate_policies(case: ChainCase) -> str | None:
    """The TSA's certificate says under which certificate policy it was issued."""
    if extension(case.leaf, x509.CertificatePolicies) is not None:
        return None
    return f"the {title(case.leaf)} names no certificate policy; issue it with the issuer's"


@rule("etsi-revocation", clause="EN 319 412-2 4.3.11, 4.4.1")
def revocation(case: ChainCase) -> str | None:
    """The TSA's certificate leads to a CRL or an OCSP responder, over http."""
    if without_revocation([case.leaf]) is None:
        return None
    return f"the {title(case.leaf)} leads to no CRL and no OCSP responder; issue it with one of them"


@rule("etsi-issuer-address", clause="EN 319 412-2 4.4.1")
def issuer_address(case: ChainCase) -> str | None:
    """The TSA's certificate says where its issuer's certificate is, unless that is the root."""
    if issuer_urls(case.leaf) or (len(case.certificates) > 1 and issued_by(case.certificates[1], case.certificates[1])):
        return None
    return f"the {title(case.leaf)} does not say where its issuer's certificate is (caIssuers)"


ETSI_RULES: Final[Sequence[Rule]] = (
    organization,
    common_name,
    country,
    organization_identifier,
    key_length,
    key_algorithm,
    signature_digest,
    key_usage,
    usage_period,
    authority_key_identifier,
    certificate_policies,
    revocation,
    issuer_address,
)
