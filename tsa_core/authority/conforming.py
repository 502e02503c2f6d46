"""What a profile conforms to: its own facts and those around it, judged by the standards that its settings name."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from tsa_core.api import ConfigError, Signer
from tsa_core.certs.chain import CertificateChain
from tsa_core.config import ProfileSettings
from tsa_core.conformance.chains import ChainCase
from tsa_core.conformance.profiles import Conformance
from tsa_core.conformance.rule import Case, ServiceFacts, TokenFacts
from tsa_core.protocol import oids
from tsa_core.protocol.hashes import HashAlgorithm


def conform(
    name: str,
    settings: ProfileSettings,
    *,
    signer: Signer,
    chain: CertificateChain,
    hashes: Iterable[HashAlgorithm],
    surroundings: ServiceFacts | None,
) -> Conformance:
    """Return what the profile `name` conforms to; raises ConfigError, a line for each demand that is not fulfilled.

    `hashes` are those of imprints that it accepts. What was not given is not judged.
    """
    now = datetime.now(UTC)
    found = Conformance(
        settings.conformance,
        Case(
            at=now,
            chain_case=ChainCase(
                certificates=chain.certificates,
                at=now,
                public_key=signer.public_key,
                algorithm=signer.algorithm,
                fraction_digits=[settings.fraction_digits],
            ),
            token_facts=TokenFacts(
                policies=settings.policies,
                hashes=[algorithm.name for algorithm in hashes],
                accuracy=settings.promised_accuracy,
                ordering=settings.ordering,
                fraction_digits=settings.fraction_digits,
                signer_certificate=settings.include_chain != "none",
                qc_statements=[oids.ESI4_QTST_STATEMENT_1] if settings.qualified else [],
            ),
            service_facts=surroundings,
        ),
    )
    if found.broken:
        raise ConfigError("\n".join(finding.line(name) for finding in found.broken))
    return found
