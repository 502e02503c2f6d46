"""The flags of timestamp-cli verify about revocation: what was given, and what is fetched when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tsa_core.cli.boolean_flag import BooleanFlag
from tsa_core.cli.timestamp.files import STANDARD, read_file
from tsa_core.cli.timestamp.options import PROGRAM, common, option

if TYPE_CHECKING:
    from tsa_core.protocol.errors import TsaError
    from tsa_core.verify import Revocation, TrustStore, VerifiedTimestamp

_F = TypeVar("_F", bound=Callable[..., Any])
_OPTIONS: Final = (
    option("--crl", multiple=True, metavar="FILE", help="CRLs to check the signer against; repeat it for more files."),
    option("--ocsp", multiple=True, metavar="FILE", help="An OCSP response to check it against; repeat it for more."),
    option(
        "--revocation",
        type=click.Choice(["signer", "path"]),
        help="Which certificates CRLs and OCSP responses must cover (default: signer, if any are given or fetched).",
    ),
    option(
        "--max-crl-age",
        type=click.IntRange(min=1),
        metavar="DAYS",
        help="Age limit of CRLs that state no end (default: 7).",
    ),
    option("--fetch-crls", cls=BooleanFlag, help="Fetch the CRLs that the path's certificates point to."),
    option("--fetch-ocsp", cls=BooleanFlag, help="Ask the OCSP responders that the path's certificates point to."),
    option("--fetch-issuers", cls=BooleanFlag, help="Fetch missing intermediates from where certificates point to."),
)


def revocation_options(command: _F) -> _F:
    """Add the flags to a command."""
    return reduce(lambda decorated, add: add(decorated), reversed(_OPTIONS), command)


def fetches_evidence(flags: dict[str, Any]) -> bool:
    """Say whether CRLs or OCSP responses are to be fetched; raises click.UsageError for flags that do not fit."""
    if (flags["fetch_crls"] or flags["fetch_ocsp"]) and flags["artifact"] == STANDARD:
        raise click.UsageError("--fetch-crls and --fetch-ocsp do not go with an artifact on standard input")
    fetches = bool(flags["fetch_crls"] or flags["fetch_ocsp"])
    if flags["max_crl_age"] is not None and not (fetches or flags["crl"] or flags["ocsp"]):
        raise click.UsageError("--max-crl-age goes with --crl, --ocsp, --fetch-crls or --fetch-ocsp")
    return fetches


def given_revocation(flags: dict[str, Any]) -> Revocation | None:
    """Return what must be checked with the given files; None when nothing about revocation was asked for."""
    from tsa_core.paths.evidence import MAX_FILE_OCTETS
    from tsa_core.paths.revocation import MAX_AGE
    from tsa_core.verify import Revocation, RevocationScope

    if not (flags["crl"] or flags["ocsp"] or flags["revocation"] or fetches_evidence(flags)):
        return None
    days = flags["max_crl_age"]
    return Revocation.from_files(
        crls=[(name, read_file(name, MAX_FILE_OCTETS)) for name in flags["crl"]],
        ocsp_responses=[(name, read_file(name)) for name in flags["ocsp"]],
        scope=RevocationScope(flags["revocation"] or "signer"),
        max_age=timedelta(days=days) if days is not None else MAX_AGE,
    )


def fetched_revocation(
    ctx: click.Context, result: VerifiedTimestamp, flags: dict[str, Any], given: Revocation | None
) -> Revocation:
    """Return `given` and what was fetched for a verified path; what cannot be fetched is told on standard error."""
    from tsa_core.client import fetch_revocation

    revocation, failures = fetch_revocation(
        result.path,
        crls=flags["fetch_crls"],
        ocsp=flags["fetch_ocsp"],
        timeout=common(ctx, "timeout"),
        given=given,
    )
    _tell("no revocation data from", failures)
    return revocation


def with_fetched_issuers(ctx: click.Context, reply: bytes, trust: TrustStore) -> TrustStore:
    """Return `trust` with the intermediates that the token's certificates point to."""
    from tsa_core.client import fetch_issuers
    from tsa_core.protocol.reply import is_token

    more, failures = fetch_issuers(reply, trust, bare_token=is_token(reply), timeout=common(ctx, "timeout"))
    _tell("no issuer from", failures)
    return more


def _tell(what: str, failures: Iterable[TsaError]) -> None:
    for failure in failures:
        click.echo(f"{PROGRAM}: {what} {failure}", err=True)
