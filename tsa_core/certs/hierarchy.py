"""Whole chains: a parent for the TSA's certificate, that certificate, and requests for either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from tsa_core.api import CertificateAuthority, CertificateAuthorityError, PublicKey, Signer
from tsa_core.certs.chain import CertificateChain
from tsa_core.certs.issuing import Issuer, certificate_name, issue_certificate, issue_request
from tsa_core.certs.templates import Publication, intermediate_extensions, root_extensions, tsa_extensions
from tsa_core.protocol.encodings import Encoding

CLOCK_GRACE: Final = timedelta(minutes=5)
"""Certificates begin this much in the past, for verifiers whose clocks are behind."""


@dataclass(frozen=True, kw_only=True)
class Names:
    """The subject names in a chain. The common names are the reference system's unless said otherwise."""

    organization: str | None
    country: str | None = None
    root: str = "sigstore-tsa-selfsigned"
    intermediate: str = "sigstore-tsa-intermediate"
    tsa: str = "sigstore-tsa"
    tsa_subject: x509.Name | None = None
    """The TSA's whole name, where a request has one."""

    def name(self, common_name: str) -> x509.Name:
        """Return the whole name."""
        return certificate_name(common_name, organization=self.organization, country=self.country)


@dataclass(frozen=True, kw_only=True)
class Validity:
    """From when to when, aware."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def of(cls, length: timedelta, *, now: datetime | None = None) -> Validity:
        """Return a validity that has just begun."""
        first = (now or datetime.now(UTC)).replace(microsecond=0) - CLOCK_GRACE
        return cls(not_before=first, not_after=first + length)


def self_signed_root(
    signer: Signer, names: Names, validity: Validity, *, path_length: int | None = None
) -> x509.Certificate:
    """Return a root for the signer's key; raises SignerError."""
    subject = names.name(names.root)
    return issue_certificate(
        subject=subject,
        public_key=signer.public_key,
        issuer=Issuer(name=subject, signer=signer),
        extensions=root_extensions(signer.public_key, path_length=path_length),
        not_before=validity.not_before,
        not_after=validity.not_after,
    )


def intermediate_certificate(
    public_key: PublicKey, issuer: Issuer, names: Names, validity: Validity, *, publication: Publication
) -> x509.Certificate:
    """Return the certificate of a CA that issues TSA certificates only; raises SignerError."""
    return issue_certificate(
        subject=names.name(names.intermediate),
        public_key=public_key,
        issuer=issuer,
        extensions=intermediate_extensions(public_key, issuer, publication=publication),
        not_before=validity.not_before,
        not_after=validity.not_after,
    )


def tsa_certificate(
    public_key: PublicKey,
    issuer: Issuer,
    names: Names,
    validity: Validity,
    *,
    key_use: timedelta | None = None,
    publication: Publication | None = None,
) -> x509.Certificate:
    """Return the TSA's certificate; raises SignerError.

    `key_use` is how long the private key may sign, for the private key usage period; None leaves the extension out.
    """
    period = None
    if key_use is not None:
        period = (validity.not_before, min(validity.not_before + key_use, validity.not_after))
    return issue_certificate(
        subject=names.tsa_subject or names.name(names.tsa),
        public_key=public_key,
        issuer=issuer,
        extensions=tsa_extensions(public_key, issuer, key_usage_until=period, publication=publication),
        not_before=validity.not_before,
        not_after=validity.not_after,
    )


def tsa_request(signer: Signer, names: Names) -> x509.CertificateSigningRequest:
    """Return a request for a TSA certificate, signed by the key that it is for; raises SignerError."""
    return issue_request(
        subject=names.name(names.tsa), signer=signer, extensions=tsa_extensions(signer.public_key, None)
    )


def intermediate_from(
    authority: CertificateAuthority, signer: Signer, names: Names, *, validity: timedelta, timeout: float
) -> Sequence[x509.Certificate]:
    """Return the intermediate's certificate for the signer's key, as the CA issued it, and its issuers up to the root.

    Its extended key usage is asked for as critical, as the reference system asks Google's CA. Raises SignerError and
    CertificateAuthorityError.
    """
    request = issue_request(
        subject=names.name(names.intermediate),
        signer=signer,
        extensions=intermediate_extensions(signer.public_key, None, usage_critical=True),
    )
    issued = authority.issue(request.public_bytes(Encoding.DER), validity=validity, timeout=timeout)
    if not issued:
        raise CertificateAuthorityError("the certificate authority answered with no certificate")
    try:
        return [x509.load_der_x509_certificate(certificate) for certificate in issued]
    except ValueError as error:
        raise CertificateAuthorityError(f"the certificate authority's answer is no certificate: {error}") from None


def chain_under(
    parents: Sequence[x509.Certificate],
    parent: Signer,
    public_key: PublicKey,
    names: Names,
    *,
    length: timedelta | None = None,
    key_use: timedelta | None = None,
    publication: Publication | None = None,
) -> CertificateChain:
    """Return the chain of a new TSA certificate under `parents`, the first of which is for the parent's key.

    It is valid as long as its issuer, and no longer than any above, or from now for `length`. Raises ConfigError when
    the parent's key is not the certified one, SignerError when it cannot sign.
    """
    issuer = Issuer.of(parents[0], parent)
    first = max(certificate.not_valid_before_utc for certificate in parents)
    last = min(certificate.not_valid_after_utc for certificate in parents)
    if length is not None:
        asked = Validity.of(length)
        first, last = max(first, asked.not_before), min(last, asked.not_after)
    validity = Validity(not_before=first, not_after=last)
    leaf = tsa_certificate(public_key, issuer, names, validity, key_use=key_use, publication=publication)
    return CertificateChain(certificates=(leaf, *parents))
