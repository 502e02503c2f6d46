"""What ETSI asks of a time-stamping service: EN 319 421 V1.3.1 (2025-07), EN 319 422 V1.1.1, TS 119 312 V2.1.1.

The rules of the certificate chain are those of `chains.etsi`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from tsa_core.conformance import complaints
from tsa_core.conformance.chains.etsi import ETSI_RULES as CHAIN_RULES
from tsa_core.conformance.rule import Case, ConformanceRule, End, When, demand, of_chains, unseen
from tsa_core.paths.algorithm_ends import TS_119_312_ENDS, AlgorithmEnd, Use, matches, uses_of_path
from tsa_core.protocol import oids

_MOST: Final = timedelta(seconds=1)
BEST_PRACTICES_POLICY: Final = "0.4.0.2023.1.1"
"""The policy that EN 319 421 defines itself, clause 5.2."""
_ETSI_ARC: Final = "0.4.0."
_SIGSTORE_ARC: Final = "1.3.6.1.4.1.57264."
_SUITE_HASHES: Final = frozenset({"sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"})


@demand(
    "etsi-accuracy",
    clause="EN 319 422 5.2.2; EN 319 421 7.7.2 (TIS-7.7.2-03)",
    setting="profiles.{profile}.accuracy",
    when=(When.START, When.TOKEN),
    widest_accuracy=_MOST,
)
def accuracy(case: Case) -> str | None:
    """Every token states its accuracy, one second or better."""
    stated = case.tokens.accuracy
    if stated is None:
        return 'tokens would state no accuracy; set it to "1s" or less'
    if stated > _MOST:
        return f'tokens would state {stated.total_seconds():g} s; set it to "1s" or less'
    return None


@demand("etsi-ordering", clause="EN 319 422 5.2.2", setting="profiles.{profile}.ordering")
def ordering(case: Case) -> str | None:
    """No token says that it is ordered by its time."""
    return "tokens would say that their times increase; leave ordering out" if case.tokens.ordering else None


@demand("etsi-gen-time", clause="EN 319 422 5.2.2", setting="profiles.{profile}.fraction_digits")
def gen_time(case: Case) -> str | None:
    """The time is written finely enough for the accuracy that is stated."""
    stated = case.tokens.accuracy
    if stated is None or timedelta(seconds=10**-case.tokens.fraction_digits) <= stated:
        return None
    needed = next(digits for digits in range(7) if digits == 6 or timedelta(seconds=10**-digits) <= stated)
    return f"an accuracy of {stated.total_seconds():g} s needs times with {needed} digits after the second; set it so"


@demand(
    "etsi-no-critical-extension",
    clause="EN 319 422 5.2.2",
    setting="response.processors",
    when=(When.START, When.TOKEN),
)
def no_critical_extension(case: Case) -> str | None:
    """No extension of a token is critical."""
    if found := case.tokens.critical_extensions:
        return f"the token would have the critical extension {found[0]}; leave out what adds it"
    return None


@demand(
    "etsi-qualified-statement",
    clause="EN 319 422 9.1",
    setting="profiles.{profile}.qualified",
    when=(When.START, When.TOKEN),
)
def qualified_statement(case: Case) -> str | None:
    """A token that is marked as qualified has a qcStatements extension of the one statement esi4-qtstStatement-1."""
    found = case.tokens.qc_statements
    if found and case.service_facts is not None and not case.service_facts.qualified:
        return "the token would claim to be qualified, which this profile does not say; leave out what adds that"
    if not found or tuple(found) == (oids.ESI4_QTST_STATEMENT_1,):
        return None
    return f"the qcStatements of the token would be {', '.join(found)}, not {oids.ESI4_QTST_STATEMENT_1} alone"


@demand("etsi-qualified-alone", clause="EN 319 421 8.2 (TIS-8.2-01)", setting="profiles.{profile}.qualified")
def qualified_alone(case: Case) -> str | None:
    """A key that makes qualified timestamps makes no others."""
    if case.service.qualified and (others := case.service.unqualified):
        return f"the profile {others[0]!r} uses the same key for timestamps that are not qualified; give it another"
    return None


@demand(
    "etsi-policy",
    clause="EN 319 422 5.2.2 and Annex A; EN 319 421 5.2",
    setting="profiles.{profile}.policies",
)
def policy(case: Case) -> str | None:
    """Each policy is 0.4.0.2023.1.1, EN 319 421's own, or the authority's own."""
    for found in case.tokens.policies:
        other = found.startswith(_ETSI_ARC) and found != BEST_PRACTICES_POLICY
        if other or found.startswith(_SIGSTORE_ARC):
            whose = "another of ETSI's" if other else "Sigstore's"
            return f"{found} is {whose}; write {BEST_PRACTICES_POLICY}, or an identifier of your organization's own"
    return None


def _hash_end(name: str) -> End | None:
    """Return when ETSI's cryptographic suites end an imprint hash."""
    use = Use(name, None, "")
    return next((End(moment=end.until, what=str(end)) for end in TS_119_312_ENDS if matches(use, end)), None)


@demand(
    "etsi-imprint-hashes",
    clause="EN 319 422 5.1.3; TS 119 312 5.1, 9.2",
    setting="profiles.{profile}.hashes",
    when=(When.START, When.TOKEN, When.TIME),
    hash_end=_hash_end,
)
def imprint_hashes(case: Case) -> str | None:
    """Imprints are made with SHA-2 or SHA-3 of 256 bits or more, none of them past its end."""
    for name in case.tokens.hashes:
        if name not in _SUITE_HASHES:
            return f"{name} is accepted, which is none of {', '.join(sorted(_SUITE_HASHES))}; leave it out"
        end = _hash_end(name)
        if end is not None and case.at > end.moment:
            return f"{name} is accepted, which has ended: {end.what}; leave it out"
    return None


def _algorithm_uses(case: Case) -> Iterator[tuple[Use, AlgorithmEnd]]:
    """Yield what the chain and the token's signature rely on and the suites end."""
    chain = case.chain
    uses = list(uses_of_path(chain.certificates))
    if (signs := chain.token_algorithm()) is not None:
        uses.append(Use(signs.digest.name, None, "the token's signature"))
    yield from ((use, end) for use in uses for end in TS_119_312_ENDS if matches(use, end))


def _algorithm_ends(case: Case) -> Iterator[End]:
    for use, end in _algorithm_uses(case):
        yield End(moment=end.until, what=f"strength of {use.algorithm} in {use.where}, by {end.source},")


@demand(
    "etsi-algorithm-end",
    clause="EN 319 422 5.2.3, 6.3, 6.5; TS 119 312 8.4, Annex D",
    setting="profiles.{profile}.certificate_chain",
    when=(When.START, When.TIME),
    ends=_algorithm_ends,
)
def algorithm_end(case: Case) -> str | None:
    """No key, and no hash under a signature, of the tokens and the chain is past its end."""
    for use, end in _algorithm_uses(case):
        if case.at > end.until:
            return f"{use.where} relies on what has ended: {end}; take a stronger key and certificate into use"
    return None


@demand(
    "etsi-key-end",
    clause="EN 319 421 7.7.1 (TIS-7.7.1-09), 7.6.7 (TIS-7.6.7-06)",
    setting="profiles.{profile}.issue_until",
    when=(When.START, When.TIME),
)
def key_end(case: Case) -> str | None:
    """No token is made after the end of the private key."""
    if case.service.issue_until == "key-usage":
        return None
    return 'tokens would be made after the private key usage period; leave it out, or write "key-usage"'


@demand("etsi-certificate-in-token", clause="EN 319 422 5.1.2", setting="profiles.{profile}.include_chain")
def certificate_in_token(case: Case) -> str | None:
    """A token has its signer's certificate when the request asks for it (certReq)."""
    return complaints.certificate_left_out(case)


@demand("etsi-clock-monitor", clause="EN 319 421 7.7.2 (TIS-7.7.2-05)", setting="clock.monitors")
def clock_monitor(case: Case) -> str | None:
    """A clock monitor finds out when the clock drifts or jumps away from UTC."""
    return complaints.clock_unwatched(case)


@demand(
    "etsi-clock-gate",
    clause="EN 319 421 7.7.1 (TIS-7.7.1-07), 7.7.2 (TIS-7.7.2-06)",
    setting="clock.on_failure",
    when=(When.START, When.TOKEN),
)
def clock_gate(case: Case) -> str | None:
    """No token is made while the clock is not within the accuracy that is stated."""
    return complaints.gate_open(case)


@demand("etsi-leap-second", clause="EN 319 421 7.7.2 (TIS-7.7.2-07)", setting="clock.leap")
def leap_second(case: Case) -> str | None:
    """The clock is right across a leap second."""
    return complaints.leap_second_ignored(case)


@demand("etsi-audit", clause="EN 319 421 7.12 (OVR-7.12-04, OVR-7.12-06)", setting="audit.sinks")
def audit(case: Case) -> str | None:
    """An audit trail has what became of the clock's synchronization."""
    return complaints.clock_events_lost(case)


@demand("etsi-https", clause="EN 319 422 7", setting="server.schemes")
def https(case: Case) -> str | None:
    """Clients reach the service over HTTPS; the clause recommends it, and here it is demanded."""
    service = case.service
    if (service.public_url or "").startswith("https://"):
        return None
    if "http" in service.schemes and not service.http_ping_only:
        return (
            'clients would send requests in the clear; write schemes = ["https"], or, behind a proxy that does TLS, '
            'public_url = "https://..."'
        )
    if "https" not in service.schemes:
        return 'nothing says that clients use TLS; write public_url = "https://...", the address of the proxy for TLS'
    return None


UNSEEN: Final = (
    unseen(
        "etsi-secure-device",
        clause="EN 319 421 7.6.2 (TIS-7.6.2-03), 7.6.3",
        demand="The key was made in a certified secure cryptographic device, and is protected by it.",
        where="the device's certificate and the protocol of the key ceremony show it",
    ),
    unseen(
        "etsi-utc-source",
        clause="EN 319 421 7.7.1 (TIS-7.7.1-04)",
        demand="The time is traceable to a laboratory that distributes UTC(k).",
        where="who operates the monitors' time servers decides it",
    ),
    unseen(
        "etsi-key-destroyed",
        clause="EN 319 421 7.6.7 (TIS-7.6.7-08)",
        demand="Expired private keys and their copies are destroyed.",
        where="the protocol of the destruction shows it",
    ),
    unseen(
        "etsi-practice-statement",
        clause="EN 319 421 6.2, 6.3",
        demand="A practice statement and a disclosure statement are published, with the policy and the accuracy.",
        where="`timestamp-server policy-document` fills their templates",
    ),
    unseen(
        "etsi-premises",
        clause="EN 319 421 7.8, 7.10",
        demand="Premises and networks of the time-stamping units are protected.",
        where="an audit of the organization shows it",
    ),
    unseen(
        "etsi-certificate-policy",
        clause="EN 319 421 8.1 (TIS-8.1-01)",
        demand="The certificate of a unit that makes qualified timestamps was issued under NCP+ or an equal policy.",
        where="the issuer's certificate policy says it",
    ),
    unseen(
        "etsi-qualified-status",
        clause="Regulation (EU) 910/2014, Articles 22 and 42",
        demand="An authority that marks tokens as qualified is listed as such in a trusted list.",
        where="the trusted list of the country says it",
    ),
)

ETSI_RULES: Final[Sequence[ConformanceRule]] = (
    accuracy,
    ordering,
    gen_time,
    no_critical_extension,
    policy,
    imprint_hashes,
    algorithm_end,
    certificate_in_token,
    qualified_statement,
    qualified_alone,
    # A server learns the end of a key from this extension alone, so it is no advice here.
    *of_chains(CHAIN_RULES, demanded=["etsi-private-key-usage-period"]),
    key_end,
    clock_monitor,
    clock_gate,
    leap_second,
    audit,
    https,
    *UNSEEN,
)
