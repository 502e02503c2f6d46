"""Makes certificate chains for timestamp authorities, with any signer's key, and judges chains by named rules.

Certificates are assembled here and signed by a Signer, so that a key in a KMS or an HSM can be leaf or parent.
The rules serve both `timestamp-server check-chain` and the server's own checks at start.
"""

from __future__ import annotations

from tsa_core.api.keys import KEY_KINDS, new_key
from tsa_core.certs.chain import (
    CertificateChain,
    chain_of,
    load_certificates,
    load_chain,
    load_request,
    lowest_key,
    order_chain,
)
from tsa_core.certs.issuing import Issuer, certificate_name, issue_certificate, issue_request
from tsa_core.certs.templates import Publication, intermediate_extensions, root_extensions, tsa_extensions

__all__ = [
    "KEY_KINDS",
    "CertificateChain",
    "Issuer",
    "Publication",
    "certificate_name",
    "chain_of",
    "intermediate_extensions",
    "issue_certificate",
    "issue_request",
    "load_certificates",
    "load_chain",
    "load_request",
    "lowest_key",
    "new_key",
    "order_chain",
    "root_extensions",
    "tsa_extensions",
]
