"""timestamp-cli verify: verify a timestamp and say what the verdict is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tsa_core.cli import console
from tsa_core.cli.timestamp.files import STANDARD, open_artifact, parse_digest, read_file, reading_errors
from tsa_core.cli.timestamp.options import common, common_options, integer, moment, option
from tsa_core.cli.timestamp.revocation import (
    fetched_revocation,
    fetches_evidence,
    given_revocation,
    revocation_options,
    with_fetched_issuers,
)

if TYPE_CHECKING:
    from tsa_core.verify import Revocation, TrustStore, VerifiedTimestamp


@click.command()
@option("--timestamp", "reply", required=True, metavar="FILE", help="The reply or the bare token; - for stdin.")
@option("--artifact", metavar="FILE", help="What was timestamped; - for standard input.")
@option("--digest", metavar="HEX", help="Its digest instead; sha384:HEX names the hash.")
@option("--request", metavar="FILE", help="The request that was sent: imprint, policy and nonce must match it.")
@option("--certificate-chain", metavar="FILE", help="PEM chain up to its self-signed root, signer included or not.")
@option("--root-certificates", metavar="FILE", help="PEM roots to trust.")
@option("--intermediate-certificates", metavar="FILE", help="PEM certificates between signer and root.")
@option("--certificate", metavar="FILE", help="The only signer's certificate to accept.")
@option("--nonce", type=integer, metavar="N", help="The nonce that the token must have; decimal, or 0x...")
@option("--oid", metavar="OID", help="The policy that the token must have.")
@option("--common-name", metavar="CN", help="The common name that the signer must have.")
@option("--time", type=moment, metavar="TIME", help="Verify for this moment, 2026-01-31T12:00:00Z (default: genTime).")
@option(
    "--allow",
    multiple=True,
    metavar="NAME",
    help="Accept although a rule refuses it: sha1, md5, rsa1024, noncritical-eku or tsa-name. Repeat it for more.",
)
@option(
    "--algorithms",
    type=click.Choice(["strict", "by-date"]),
    default="strict",
    show_default=True,
    help="by-date: accept an algorithm that is weak today if --proof shows that the timestamp is older than its end.",
)
@option(
    "--proof",
    multiple=True,
    metavar="FILE",
    help="A later timestamp over the one of --timestamp; a second --proof is over the first, and so on.",
)
@revocation_options
@common_options
@click.pass_context
def verify(ctx: click.Context, /, **flags: Any) -> None:
    """Verify a timestamp of a file, and say what the verdict is worth.

    Exit code 0: the timestamp holds. 1: it does not, and one line says why. 2: the command cannot be run.

    \b
    Example:
      timestamp-cli verify --artifact release.tar.gz --timestamp release.tsr --certificate-chain chain.pem
    """  # noqa: D301 - the backslash is click's mark
    if flags["artifact"] is None and flags["digest"] is None and flags["request"] is None:
        raise click.UsageError("give --artifact, --digest or --request to say what the timestamp is about")
    if STANDARD in {flags["artifact"]} & {flags["reply"]}:
        raise click.UsageError("only one of --artifact and --timestamp can be standard input")
    if flags["proof"] and flags["algorithms"] != "by-date":
        raise click.UsageError("--proof goes with --algorithms by-date; otherwise it has no effect")
    fetches = fetches_evidence(flags)
    revocation = given_revocation(flags)
    reply = read_file(flags["reply"])
    from tsa_core.cli.timestamp.verdict import print_verdict, verdict_document
    from tsa_core.verify import VerificationError
    from tsa_core.verify.tolerances import check_allowances

    try:
        check_allowances(flags["allow"])
    except ValueError as error:
        raise click.UsageError(f"--allow: {error}") from None
    as_json = common(ctx, "output_format") == "json"
    try:
        result = _verdict(ctx, reply, flags, revocation, fetches=fetches)
    except VerificationError as error:
        if as_json:
            console.print_json(
                {"TimestampPath": flags["reply"], "Verified": False, "Rule": error.rule, "Reason": str(error)}
            )
        raise
    if as_json:
        console.print_json({"TimestampPath": flags["reply"], "Verified": True, **verdict_document(reply, result)})
    else:
        print_verdict(flags["reply"], result)


def _verdict(
    ctx: click.Context, reply: bytes, flags: dict[str, Any], revocation: Revocation | None, *, fetches: bool
) -> VerifiedTimestamp:
    trust = _trust(flags)
    if flags["fetch_issuers"]:
        trust = with_fetched_issuers(ctx, reply, trust)
    result = _verify(reply, flags, trust, None if fetches else revocation)
    if fetches:
        # The path is known and trusted by now, and so are the places that its certificates name.
        result = _verify(reply, flags, trust, fetched_revocation(ctx, result, flags, revocation))
    return result


def _verify(reply: bytes, flags: dict[str, Any], trust: TrustStore, revocation: Revocation | None) -> VerifiedTimestamp:
    from tsa_core.protocol.reply import is_token
    from tsa_core.verify import DEFAULT_PERIODS, Verifier
    from tsa_core.verify.trust import read_certificates

    policies = [flags["oid"]] if flags["oid"] is not None else []
    exact = read_certificates(read_file(flags["certificate"])) if flags["certificate"] is not None else ()
    verifier = Verifier(
        trust,
        tsa_certificate=exact[0] if exact else None,
        policies=policies,
        common_name=flags["common_name"],
        revocation=revocation,
        allow=flags["allow"],
        algorithm_periods=DEFAULT_PERIODS if flags["algorithms"] == "by-date" else (),
    )
    call = verifier.verify_token if is_token(reply) else verifier.verify_response
    name, digest = parse_digest(flags["digest"]) if flags["digest"] is not None else (None, None)
    request = read_file(flags["request"]) if flags["request"] is not None else None
    arguments: dict[str, Any] = {
        "digest": digest,
        "digest_algorithm": name,
        "request": request,
        "nonce": flags["nonce"],
        "time": flags["time"],
        "proofs": tuple(map(read_file, flags["proof"])),
    }
    if flags["artifact"] is None:
        return call(reply, **arguments)
    with open_artifact(flags["artifact"]) as artifact:
        try:
            return call(reply, artifact=artifact, **arguments)
        except OSError as error:
            raise reading_errors(flags["artifact"], error) from None


def _trust(flags: dict[str, Any]) -> TrustStore:
    from tsa_core.verify import TrustStore

    chain, roots = flags["certificate_chain"], flags["root_certificates"]
    intermediates = flags["intermediate_certificates"]
    if (chain is None) == (roots is None):
        raise click.UsageError("give either --certificate-chain or --root-certificates")
    if chain is not None:
        if intermediates is not None:
            raise click.UsageError("--intermediate-certificates goes with --root-certificates")
        return TrustStore.from_chain(read_file(chain))
    return TrustStore.from_files(read_file(roots), read_file(intermediates) if intermediates is not None else b"")
