"""Makes a chain from its root on, each certificate from its template, and judges what was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from tsa_core.api import ConfigError, PublicKey, Signer
from tsa_core.certs.hierarchy import Validity
from tsa_core.certs.issuing import Issuer, issue_certificate
from tsa_core.certs.maker.certificate_template import CertificateTemplate
from tsa_core.conformance.chains import ChainCase, Finding, judge

_OF_AUTHORITIES: Final = frozenset(
    {
        "authorities-are-cas",
        "authorities-sign-certificates",
        "path-length",
        "intermediates-usage-timestamping",
        "validity",
        "rsa-size",
        "version-3",
        "serial-number",
        "critical-extensions",
    }
)
"""The rules about CAs that hold whatever their issuers are."""
_OF_ISSUERS: Final = frozenset({"issued-by-the-next", "root-last", "no-weak-signature", "key-identifiers"})
_OF_INTERMEDIATES_USAGE: Final = "intermediates-usage-timestamping"


@dataclass
class Maker:
    """Makes certificates at one moment, each under the one before it."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def root(self, template: CertificateTemplate, signer: Signer, lifetime: timedelta) -> x509.Certificate:
        """Return a self-signed certificate; raises ConfigError for the template, SignerError when it cannot sign."""
        return self._certificate(template, signer.public_key, Issuer(name=template.subject, signer=signer), lifetime)

    def under(
        self,
        parent: x509.Certificate,
        parent_signer: Signer,
        template: CertificateTemplate,
        public_key: PublicKey,
        lifetime: timedelta,
    ) -> x509.Certificate:
        """Return a certificate that the parent's key signs; raises as `root`, and when the key is not the parent's."""
        return self._certificate(template, public_key, Issuer.of(parent, parent_signer), lifetime, parent=parent)

    def _certificate(
        self,
        template: CertificateTemplate,
        public_key: PublicKey,
        issuer: Issuer,
        lifetime: timedelta,
        *,
        parent: x509.Certificate | None = None,
    ) -> x509.Certificate:
        template.check_issuer(issuer.name)
        try:
            validity = Validity.of(lifetime, now=self.now)
        except OverflowError:
            raise ConfigError(f"the lifetime of the {template.role} leads beyond the year 9999") from None
        return issue_certificate(
            subject=template.subject,
            public_key=public_key,
            issuer=issuer,
            extensions=template.extensions(public_key, issuer if parent is not None else None),
            not_before=validity.not_before,
            not_after=validity.not_after,
        )


def judge_made(
    certificates: Sequence[x509.Certificate],
    leaf: Signer | None,
    *,
    at: datetime,
    enforce_intermediate_eku: bool = True,
) -> list[Finding]:
    """Return what the common rules find in a chain, or, without a leaf's signer, in the CAs above one to come.

    The certificates are in the order of a chain, the root last.
    """
    if leaf is not None:
        case = ChainCase(certificates=certificates, at=at, public_key=leaf.public_key, algorithm=leaf.algorithm)
        findings = judge(case)
    else:
        # For the rules about CAs, the place of the leaf is taken: they do not look at it.
        held = judge(ChainCase(certificates=(certificates[0], *certificates), at=at))
        linked = judge(ChainCase(certificates=certificates, at=at))
        findings = [finding for finding in held if finding.rule.name in _OF_AUTHORITIES]
        findings += [finding for finding in linked if finding.rule.name in _OF_ISSUERS]
    if not enforce_intermediate_eku:
        findings = [finding for finding in findings if finding.rule.name != _OF_INTERMEDIATES_USAGE]
    return findings
