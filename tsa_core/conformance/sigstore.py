"""What Sigstore's clients and its own timestamp authority ask of a profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tsa_core.conformance import complaints
from tsa_core.conformance.chains.clients import SIGSTORE_RULES as CHAIN_RULES
from tsa_core.conformance.rule import Case, ConformanceRule, When, demand, of_chains, unseen

_HASHES: Final = ("sha256", "sha384", "sha512")


@demand(
    "sigstore-hashes",
    clause="sigstore/timestamp-authority: pkg/verification, VerifyRequest",
    setting="profiles.{profile}.hashes",
)
def hashes(case: Case) -> str | None:
    """The imprints that Sigstore's clients send are accepted: SHA-256, SHA-384 and SHA-512."""
    if missing := [name for name in _HASHES if name not in case.tokens.hashes]:
        return f"{', '.join(missing)} would be refused; add {'it' if len(missing) == 1 else 'them'}"
    return None


@demand(
    "sigstore-weak-hashes",
    clause="sigstore/timestamp-authority: pkg/verification, VerifyRequest",
    setting="profiles.{profile}.accept_sha1",
    when=(When.START, When.TOKEN),
)
def weak_hashes(case: Case) -> str | None:
    """No imprint is made with SHA-1."""
    return complaints.sha1_accepted(case)


@demand(
    "sigstore-certificate-in-token",
    clause="RFC 3161 2.4.1",
    setting="profiles.{profile}.include_chain",
)
def certificate_in_token(case: Case) -> str | None:
    """A token has its signer's certificate when the request asks for it (certReq)."""
    return complaints.certificate_left_out(case)


@demand(
    "sigstore-intermediate-usage",
    clause="sigstore/timestamp-authority: --enforce-intermediate-eku",
    setting="profiles.{profile}.enforce_intermediate_eku",
)
def intermediate_usage(case: Case) -> str | None:
    """Intermediates are judged too: they list timeStamping."""
    return None if case.service.enforce_intermediate_eku else "it relaxes what Sigstore demands; leave it out"


@demand("sigstore-ordering", clause="clients: sigstore-js", setting="profiles.{profile}.ordering")
def ordering(case: Case) -> str | None:
    """No token says that it is ordered by its time, for which times would need fractions."""
    return (
        "ordering needs fractions of a second, which sigstore-js refuses; leave it out"
        if case.tokens.ordering
        else None
    )


UNSEEN: Final = (
    unseen(
        "sigstore-trusted-root",
        clause="Sigstore trusted root: timestampAuthorities",
        demand="Clients have the chain in their trusted root, with the times for which it holds.",
        where="whoever distributes the trusted root decides it",
    ),
)

SIGSTORE_RULES: Final[Sequence[ConformanceRule]] = (
    hashes,
    weak_hashes,
    certificate_in_token,
    # These are advice for a chain that may serve others too; a profile that says sigstore serves Sigstore's clients.
    *of_chains(CHAIN_RULES, demanded=["sigstore-gen-time", "sigstore-digest"]),
    intermediate_usage,
    ordering,
    *UNSEEN,
)
