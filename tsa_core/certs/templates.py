"""The extensions of the three certificates in a timestamp authority's chain: root, intermediate and TSA."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from tsa_core.api import ConfigError, PublicKey
from tsa_core.certs.issuing import Issuer
from tsa_core.values import Value

_Extension = tuple[x509.ExtensionType, bool]

TIME_STAMPING: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])


class Publication(Value):
    """What an issuer publishes about the certificates it issues: where, and under which certificate policies.

    `crl_urls` lead to its list of revoked certificates, `ocsp_urls` to its responders, `issuer_urls` to its own
    certificate; `policies` are OIDs of certificate policies. All may be empty.
    """

    crl_urls: Sequence[str] = ()
    ocsp_urls: Sequence[str] = ()
    issuer_urls: Sequence[str] = ()
    policies: Sequence[str] = ()

    @classmethod
    def of_certificate(cls, certificate: x509.Certificate) -> Publication:
        """Return what the issuer of a certificate published when it issued that."""
        found = {extension.oid: extension.value for extension in certificate.extensions}
        points = found.get(x509.CRLDistributionPoints.oid, ())
        access = found.get(x509.AuthorityInformationAccess.oid, ())
        policies = found.get(x509.CertificatePolicies.oid, ())

        def urls(method: x509.ObjectIdentifier) -> list[str]:
            return [str(each.access_location.value) for each in access if each.access_method == method]

        return cls(
            crl_urls=[str(name.value) for point in points for name in point.full_name or ()],
            ocsp_urls=urls(AuthorityInformationAccessOID.OCSP),
            issuer_urls=urls(AuthorityInformationAccessOID.CA_ISSUERS),
            policies=[policy.policy_identifier.dotted_string for policy in policies],
        )

    def of(self, issuer: str) -> Publication:
        """Return what one issuer publishes: `{issuer}` in the addresses becomes its short name."""

        def named(urls: Sequence[str]) -> list[str]:
            return [url.replace("{issuer}", issuer) for url in urls]

        return Publication(
            crl_urls=named(self.crl_urls),
            ocsp_urls=named(self.ocsp_urls),
            issuer_urls=named(self.issuer_urls),
            policies=self.policies,
        )

    def extensions(self) -> list[_Extension]:
        """Return the extensions that say so, none critical; raises ConfigError for what is no URL, or no OID."""
        found: list[_Extension] = []
        if self.policies:
            policies = [x509.PolicyInformation(_policy(oid), None) for oid in self.policies]
            found.append((x509.CertificatePolicies(policies), False))
        if self.crl_urls:
            points = [x509.DistributionPoint([_uri(url)], None, None, None) for url in self.crl_urls]
            found.append((x509.CRLDistributionPoints(points), False))
        access = [(AuthorityInformationAccessOID.OCSP, url) for url in self.ocsp_urls]
        access += [(AuthorityInformationAccessOID.CA_ISSUERS, url) for url in self.issuer_urls]
        if access:
            descriptions = [x509.AccessDescription(method, _uri(url)) for method, url in access]
            found.append((x509.AuthorityInformationAccess(descriptions), False))
        return found


def root_extensions(public_key: PublicKey, *, path_length: int | None = None) -> list[_Extension]:
    """Return a root's extensions; `path_length` counts the CAs that may follow below it, None for any number."""
    return [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (key_usage(ca=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
    ]


def intermediate_extensions(
    public_key: PublicKey,
    issuer: Issuer | None,
    *,
    usage_critical: bool = False,
    publication: Publication | None = None,
) -> list[_Extension]:
    """Return the extensions of a CA that issues TSA certificates only; without an issuer, those of a request."""
    authority = [(issuer.authority_key_identifier, False)] if issuer else []
    return [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (key_usage(ca=True), True),
        (TIME_STAMPING, usage_critical),
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        *authority,
        *(publication or Publication()).extensions(),
    ]


def tsa_extensions(
    public_key: PublicKey,
    issuer: Issuer | None,
    *,
    key_usage_until: tuple[datetime, datetime] | None = None,
    publication: Publication | None = None,
) -> list[_Extension]:
    """Return a TSA certificate's extensions (RFC 3161 2.3); without an issuer, those of a request for one.

    `key_usage_until` is when the private key may sign, first and last, and goes into the private key usage period
    extension: verifiers accept the tokens for as long as the certificate is valid, which is longer.
    """
    authority = [(issuer.authority_key_identifier, False)] if issuer else []
    period = [(x509.PrivateKeyUsagePeriod(*key_usage_until), False)] if key_usage_until else []
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(ca=False), True),
        (TIME_STAMPING, True),
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        *authority,
        *period,
        *(publication or Publication()).extensions(),
    ]


def _policy(oid: str) -> x509.ObjectIdentifier:
    try:
        return x509.ObjectIdentifier(oid)
    except ValueError:
        raise ConfigError(f"{oid!r} cannot be a certificate policy; write an OID, 2.23.140.1.4.2 for example") from None


def _uri(url: str) -> x509.UniformResourceIdentifier:
    # RFC 5280 names ldap too, but what clients fetch is http, and https would need the very check that it serves.
    if not url.startswith(("http://", "https://")) or not url.isascii() or any(c.isspace() for c in url):
        raise ConfigError(
            f"{url!r} cannot be the address of a CRL, a responder or a certificate; write http://HOST/..."
        )
    return x509.UniformResourceIdentifier(url)


def key_usage(*, ca: bool) -> x509.KeyUsage:
    """Return what a CA's key may do, sign certificates and CRLs, or a TSA's: sign."""
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
