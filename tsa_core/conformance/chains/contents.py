"""What several profiles ask of a certificate's contents, each with clauses and levels of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from tsa_core.conformance.chains.rule import extension, key_strength
from tsa_core.paths.chains import title

NIST_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})


def key_complaint(
    certificate: x509.Certificate, *, rsa_bits: int, max_rsa_bits: int = 16384, curves: frozenset[str] = NIST_CURVES
) -> str | None:
    """Say what is wrong with a certified key when only RSA in these sizes and these curves will do."""
    family, bits = key_strength(certificate)
    if family == "rsa":
        if bits < rsa_bits:
            return f"the RSA key of the {title(certificate)} has {bits} bits; {rsa_bits} is the minimum here"
        if bits > max_rsa_bits:
            return f"the RSA key of the {title(certificate)} has {bits} bits; {max_rsa_bits} is the maximum here"
        return None
    if family in curves:
        return None
    return f"the key of the {title(certificate)} is {family}; RSA, P-256, P-384 or P-521 is needed here"


def urls(names: Iterable[x509.GeneralName]) -> list[str]:
    """Return the http addresses among general names."""
    found = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    return [url for url in found if url.startswith("http://")]


def crl_urls(certificate: x509.Certificate) -> list[str]:
    """Return where a certificate says that its issuer's CRL is, http only."""
    points = extension(certificate, x509.CRLDistributionPoints)
    return [url for point in points.value for url in urls(point.full_name or ())] if points else []


def access_urls(certificate: x509.Certificate, method: x509.ObjectIdentifier) -> list[str]:
    """Return the http addresses of one method of a certificate's authority information access."""
    access = extension(certificate, x509.AuthorityInformationAccess)
    if access is None:
        return []
    return urls(description.access_location for description in access.value if description.access_method == method)


def ocsp_urls(certificate: x509.Certificate) -> list[str]:
    """Return where a certificate's OCSP responders are, http only."""
    return access_urls(certificate, AuthorityInformationAccessOID.OCSP)


def issuer_urls(certificate: x509.Certificate) -> list[str]:
    """Return where a certificate's issuer's certificate is, http only."""
    return access_urls(certificate, AuthorityInformationAccessOID.CA_ISSUERS)


def without_revocation(certificates: Iterable[x509.Certificate]) -> x509.Certificate | None:
    """Return the first certificate that leads to no CRL and no OCSP responder."""
    return next((c for c in certificates if not crl_urls(c) and not ocsp_urls(c)), None)


def has_attribute(certificate: x509.Certificate, attribute: x509.ObjectIdentifier) -> bool:
    """Say whether the subject has a non-empty value of an attribute."""
    return any(str(found.value).strip() for found in certificate.subject.get_attributes_for_oid(attribute))


def other_usages(usage: x509.KeyUsage, *, allowed: frozenset[str]) -> list[str]:
    """Return the key usages that are set and not allowed."""
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
    )
    return [name for name in names if name not in allowed and getattr(usage, name)]
