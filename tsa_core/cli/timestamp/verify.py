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
from tsa_core.cli.timestamp.trust import trust_of, trust_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from tsa_core.verify import Revocation, TrustStore, VerificationError, VerifiedTimestamp

    _Check = Callable[..., VerifiedTimestamp]


@click.command()
@option("--timestamp", "reply", metavar="FILE", help="The reply or the bare token; - for stdin.")
@option("--bundle", metavar="FILE", help="A Sigstore bundle instead: every RFC 3161 timestamp of its signature.")
@option("--artifact", metavar="FILE", help="What was timestamped; - for standard input.")
@option("--digest", metavar="HEX", help="Its digest instead; sha384:HEX names the hash.")
@option("--request", metavar="FILE", help="The request that was sent: imprint, policy and nonce must match it.")
@trust_options
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
    Examples:
      timestamp-cli verify --artifact release.tar.gz --timestamp release.tsr --certificate-chain chain.pem
      timestamp-cli verify --bundle release.sigstore.json --trust sigstore
    """  # noqa: D301 - the backslash is click's mark
    _check_combinations(flags)
    fetches = fetches_evidence(flags)
    revocation = given_revocation(flags)
    from tsa_core.verify.tolerances import check_allowances

    try:
        check_allowances(flags["allow"])
    except ValueError as error:
        raise click.UsageError(f"--allow: {error}") from None
    trust = trust_of(ctx, flags)

    def check(reply: bytes, signature: bytes | None = None) -> VerifiedTimestamp:
        return _verdict(ctx, reply, flags, trust, revocation, fetches=fetches, signature=signature)

    (_verify_one if flags["bundle"] is None else _verify_bundle)(ctx, flags, check)


def _check_combinations(flags: dict[str, Any]) -> None:
    """Raise click.UsageError for flags that do not go together."""
    if (flags["reply"] is None) == (flags["bundle"] is None):
        raise click.UsageError("give --timestamp or --bundle")
    if flags["bundle"] is not None:
        for name in ("artifact", "digest", "request", "nonce", "proof"):
            if flags[name]:
                raise click.UsageError(f"--{name} has no effect with --bundle: its timestamps are of its signature")
    elif flags["artifact"] is None and flags["digest"] is None and flags["request"] is None:
        raise click.UsageError("give --artifact, --digest or --request to say what the timestamp is about")
    if flags["reply"] == STANDARD == flags["artifact"]:
        raise click.UsageError("only one of --artifact and --timestamp can be standard input")
    if flags["proof"] and flags["algorithms"] != "by-date":
        raise click.UsageError("--proof goes with --algorithms by-date; otherwise it has no effect")


def _verify_one(ctx: click.Context, flags: dict[str, Any], check: _Check) -> None:
    from tsa_core.cli.timestamp.verdict import print_verdict, verdict_document
    from tsa_core.verify import VerificationError

    reply = read_file(flags["reply"])
    as_json = common(ctx, "output_format") == "json"
    try:
        result = check(reply)
    except VerificationError as error:
        if as_json:
            console.print_json({"TimestampPath": flags["reply"], **_refusal(error)})
        raise
    if as_json:
        console.print_json({"TimestampPath": flags["reply"], "Verified": True, **verdict_document(reply, result)})
    else:
        print_verdict(flags["reply"], result)


def _verify_bundle(ctx: click.Context, flags: dict[str, Any], check: _Check) -> None:
    from tsa_core.cli.timestamp.verdict import print_verdict, verdict_document
    from tsa_core.verify import VerificationError
    from tsa_core.verify.sigstore_bundle import read_bundle

    as_json = common(ctx, "output_format") == "json"
    bundle = read_bundle(read_file(flags["bundle"]))
    results: list[tuple[bytes, VerifiedTimestamp]] = []
    try:
        results.extend((reply, check(reply, bundle.signature)) for reply in bundle.timestamps)
    except VerificationError as error:
        number = len(results) + 1
        if as_json:
            console.print_json({"BundlePath": flags["bundle"], "Timestamp": number, **_refusal(error)})
        else:
            click.echo(f"timestamp {number} of {len(bundle.timestamps)} in {flags['bundle']}:", err=True)
        raise
    if as_json:
        documents = [verdict_document(reply, result) for reply, result in results]
        console.print_json({"BundlePath": flags["bundle"], "Verified": True, "Timestamps": documents})
        return
    for number, (_, result) in enumerate(results, 1):
        print_verdict(f"{number} of {len(results)} in {flags['bundle']}", result)


def _refusal(error: VerificationError) -> dict[str, Any]:
    return {"Verified": False, "Rule": error.rule, "Reason": str(error)}


def _verdict(
    ctx: click.Context,
    reply: bytes,
    flags: dict[str, Any],
    trust: TrustStore,
    revocation: Revocation | None,
    *,
    fetches: bool,
    signature: bytes | None,
) -> VerifiedTimestamp:
    if flags["fetch_issuers"]:
        trust = with_fetched_issuers(ctx, reply, trust)
    result = _verify(reply, flags, trust, None if fetches else revocation, signature)
    if fetches:
        # The paths are known and trusted by now, and so are the places that their certificates name.
        verdict: VerifiedTimestamp | None = result
        while verdict is not None:
            revocation = fetched_revocation(ctx, verdict, flags, revocation)
            verdict = verdict.proof
        result = _verify(reply, flags, trust, revocation, signature)
    return result


def _verify(
    reply: bytes, flags: dict[str, Any], trust: TrustStore, revocation: Revocation | None, signature: bytes | None
) -> VerifiedTimestamp:
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
    if signature is not None:
        return call(reply, artifact=signature, **arguments)
    if flags["artifact"] is None:
        return call(reply, **arguments)
    with open_artifact(flags["artifact"]) as artifact:
        try:
            return call(reply, artifact=artifact, **arguments)
        except OSError as error:
            raise reading_errors(flags["artifact"], error) from None
