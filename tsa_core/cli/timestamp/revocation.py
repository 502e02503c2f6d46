"""The flags of timestamp-cli verify about revocation: what was given, and what is fetched when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import STANDARD, read_file
from tsa_core.cli.timestamp.flags import PROGRAM, Call, flag

if TYPE_CHECKING:
    from tsa_core.protocol.errors import TsaError
    from tsa_core.verify import Revocation, TrustStore, VerifiedTimestamp

REVOCATION_FLAGS: Final = (
    flag("--crl", multiple=True, metavar="FILE", help="CRLs to check the signer against; repeat it for more files."),
    flag("--ocsp", multiple=True, metavar="FILE", help="An OCSP response to check it against; repeat it for more."),
    flag(
        "--revocation",
        choices=("signer", "path"),
        help="Which certificates CRLs and OCSP responses must cover (default: signer, if any are given or fetched).",
    ),
    flag(
        "--max-crl-age",
        least=1,
        metavar="DAYS",
        help="Age limit of CRLs that state no end (default: 7).",
    ),
    flag("--fetch-crls", boolean=True, help="Fetch the CRLs that the path's certificates point to."),
    flag("--fetch-ocsp", boolean=True, help="Ask the OCSP responders that the path's certificates point to."),
    flag("--fetch-issuers", boolean=True, help="Fetch missing intermediates from where certificates point to."),
)


def fetches_evidence(flags: Mapping[str, Any]) -> bool:
    """Say whether CRLs or OCSP responses are to be fetched; raises UsageMistake for flags that do not fit."""
    if (flags["fetch_crls"] or flags["fetch_ocsp"]) and flags["artifact"] == STANDARD:
        raise UsageMistake("--fetch-crls and --fetch-ocsp do not go with an artifact on standard input")
    fetches = bool(flags["fetch_crls"] or flags["fetch_ocsp"])
    if flags["max_crl_age"] is not None and not (fetches or flags["crl"] or flags["ocsp"]):
        raise UsageMistake("--max-crl-age goes with --crl, --ocsp, --fetch-crls or --fetch-ocsp")
    return fetches


def given_revocation(flags: Mapping[str, Any]) -> Revocation | None:
    """Return what must be checked with the given files; None when nothing about revocation was asked for."""
    if not (flags["crl"] or flags["ocsp"] or flags["revocation"] or fetches_evidence(flags)):
        return None
    from tsa_core.paths.evidence import MAX_FILE_OCTETS
    from tsa_core.paths.revocation import MAX_AGE
    from tsa_core.verify import Revocation, RevocationScope

    days = flags["max_crl_age"]
    return Revocation.from_files(
        crls=[(name, read_file(name, MAX_FILE_OCTETS)) for name in flags["crl"]],
        ocsp_responses=[(name, read_file(name)) for name in flags["ocsp"]],
        scope=RevocationScope(flags["revocation"] or "signer"),
        max_age=timedelta(days=days) if days is not None else MAX_AGE,
    )


def fetched_revocation(call: Call, result: VerifiedTimestamp, given: Revocation | None) -> Revocation:
    """Return `given` and what was fetched for a verified path; what cannot be fetched is told on standard error."""
    from tsa_core.client import fetch_revocation

    revocation, failures = fetch_revocation(
        result.path,
        crls=call.flags["fetch_crls"],
        ocsp=call.flags["fetch_ocsp"],
        timeout=call.common("timeout"),
        given=given,
    )
    _tell("no revocation data from", failures)
    return revocation


def with_fetched_issuers(call: Call, reply: bytes, trust: TrustStore) -> TrustStore:
    """Return `trust` with the intermediates that the token's certificates point to."""
    from tsa_core.client import fetch_issuers
    from tsa_core.protocol.reply import is_token

    more, failures = fetch_issuers(reply, trust, bare_token=is_token(reply), timeout=call.common("timeout"))
    _tell("no issuer from", failures)
    return more


def _tell(what: str, failures: Iterable[TsaError]) -> None:
    for failure in failures:
        console.tell(f"{PROGRAM}: {what} {failure}")
