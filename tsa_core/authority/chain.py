"""The certificate chain of a profile, and the rules that it must follow before the profile may issue.

The rules are those of tsa_core.conformance.chains, which `timestamp-server check-chain` applies too. Here the first
broken rule stops the server, with one line for the operator.
"""

from __future__ import annotations

from datetime import UTC, datetime

from tsa_core.api import ConfigError, KeyMismatch, Signer
from tsa_core.certs.chain import CertificateChain, chain_of, load_chain, parse_chain, read_chain_file
from tsa_core.conformance.chains import START_RULES, ChainCase, Outcome
from tsa_core.conformance.chains.path import intermediates_usage_timestamping, key_is_the_signers

__all__ = ["CertificateChain", "chain_of", "check_chain", "load_chain", "parse_chain", "read_chain_file"]


def check_chain(
    chain: CertificateChain,
    signer: Signer,
    *,
    where: str,
    enforce_intermediate_eku: bool = True,
    at: datetime | None = None,
) -> None:
    """Check a chain, and that its first certificate has the signer's key.

    Raises ConfigError (KeyMismatch for another key) with one line that names the certificate, the rule and the
    remedy. `where` names the profile's setting. `at` is the present time unless given.
    """
    case = ChainCase(
        certificates=chain.certificates,
        at=at or datetime.now(UTC),
        public_key=signer.public_key,
        algorithm=signer.algorithm,
    )
    for rule in START_RULES:
        if rule is intermediates_usage_timestamping and not enforce_intermediate_eku:
            continue
        finding = rule.judge(case)
        if finding.outcome is not Outcome.FAIL:
            continue
        if rule is key_is_the_signers:
            raise KeyMismatch(f"{where}: {finding.reason}")
        raise ConfigError(finding.reason, path=where)
