"""timestamp-cli: timestamp, verify, inspect, version."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tsa_core.cli import console
from tsa_core.cli.boolean_flag import BooleanFlag
from tsa_core.cli.output_file import refuse_inputs
from tsa_core.cli.repeated_flags import refuse_repeated_flags
from tsa_core.cli.streams import EXIT_OUTPUT, OutputError, guarded_output
from tsa_core.cli.timestamp_connection import connection_options, connection_settings
from tsa_core.cli.timestamp_files import STANDARD, open_artifact, read_file, reading_errors, write_reply
from tsa_core.cli.timestamp_options import common, common_options, option
from tsa_core.protocol.errors import TsaError

if TYPE_CHECKING:
    from tsa_core.client import Timestamp
    from tsa_core.verify import Revocation, TrustStore, VerifiedTimestamp

PROGRAM = "timestamp-cli"


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every flag can also be a variable, TIMESTAMP_ and its name in capitals, or stand in the file of --config.",
)
@common_options
def cli(**_: Any) -> None:
    """Get, verify and inspect RFC 3161 timestamps."""


@cli.command()
@option("--artifact", metavar="FILE", help="What to timestamp; - for standard input.")
@option("--digest", metavar="HEX", help="Its digest, if it has been hashed already; sha384:HEX names the hash.")
@option("--hash", "hash_name", metavar="NAME", help="sha256 (default), sha384, sha512, sha3-256, sha3-384, sha3-512.")
@option("--nonce", cls=BooleanFlag, default=True, help="Send a random nonce (default: true).")
@option("--certificate", cls=BooleanFlag, default=True, help="Ask for the signer's certificate (default: true).")
@option("--tsa-policy", metavar="OID", help="Ask for this policy.")
@option("--out", default="response.tsr", show_default=True, metavar="FILE", help="Where to put the reply; - is stdout.")
@option("--threshold", type=click.IntRange(min=1), help="How many of several servers must answer (default: all).")
@option("--verify-with", metavar="CHAIN", help="Accept only what verifies with this certificate chain.")
@connection_options
@common_options
@click.pass_context
def timestamp(ctx: click.Context, /, **flags: Any) -> None:
    """Get a timestamp for a file.

    The reply is checked against the request before it is written. Several servers write one file each:
    response.1.tsr, response.2.tsr and so on.

    \b
    Examples:
      timestamp-cli timestamp --artifact release.tar.gz --out release.tsr
      timestamp-cli timestamp --artifact a.txt --timestamp_server https://a.example --timestamp_server \\
          https://b.example --threshold 1
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    from tsa_core.client import stamp_all
    from tsa_core.client.several import distinct_urls
    from tsa_core.verify import TrustStore, Verifier

    as_json = common(ctx, "output_format") == "json"
    if as_json and flags["out"] == STANDARD:
        raise click.UsageError("--out - and --format json both need standard output")
    hash_name, digest = _digest_to_stamp(flags)
    chain = flags["verify_with"]
    settings = connection_settings(ctx, flags)
    if chain is not None:
        settings["verifier"] = Verifier(TrustStore.from_chain(read_file(chain)))
    servers: Sequence[str] = distinct_urls(common(ctx, "timestamp_server"))
    threshold = flags["threshold"] or len(servers)
    if threshold > len(servers):
        raise click.UsageError(f"--threshold is {threshold}, but there are only {len(servers)} servers")
    if flags["out"] == STANDARD and len(servers) > 1:
        raise click.UsageError("--out - takes the reply of one server only")
    single = len(servers) == 1
    locations = [flags["out"] if single else _numbered(flags["out"], number + 1) for number in range(len(servers))]
    for location in locations:
        if location != STANDARD:
            inputs = [("--artifact", flags["artifact"]), ("--verify-with", chain), ("--config", common(ctx, "config"))]
            refuse_inputs("--out", location, inputs)
    result = stamp_all(
        servers,
        threshold=threshold,
        digest=digest,
        hash_name=hash_name,
        nonce=flags["nonce"],
        certificate=flags["certificate"],
        policy=flags["tsa_policy"],
        **settings,
    )
    written = []
    for stamp, location in zip(result.timestamps, locations, strict=False):
        write_reply(location, stamp.reply)
        written.append((stamp, location))
    for failure in result.failures:
        console.stderr().print(f"{PROGRAM}: no timestamp from {failure}", markup=False, soft_wrap=True)
    for stamp in result.timestamps:
        for warning in stamp.warnings:
            click.echo(f"{PROGRAM}: warning: {stamp.url}: {warning}", err=True)
    _report_timestamps(written, several=len(servers) > 1, as_json=as_json)


def _digest_to_stamp(flags: dict[str, Any]) -> tuple[str, bytes]:
    """Return the hash's name and the digest of what is to be timestamped."""
    from tsa_core.client.request import strong_hash
    from tsa_core.verify import hash_artifact

    if (flags["artifact"] is None) == (flags["digest"] is None):
        raise click.UsageError("give either --artifact or --digest")
    try:
        if flags["digest"] is not None:
            name, digest = _parse_digest(flags["digest"])
            if flags["hash_name"] and name and strong_hash(name) is not strong_hash(flags["hash_name"]):
                raise click.UsageError(f"--hash says {flags['hash_name']}, --digest says {name}")
            name = name or flags["hash_name"] or _HASH_BY_SIZE.get(len(digest), "sha256")
            if len(digest) != strong_hash(name).digest_size:
                raise click.UsageError(f"--digest has {len(digest)} bytes, which is no {name} digest")
            return name, digest
        name = flags["hash_name"] or "sha256"
        algorithm = strong_hash(name)
    except TsaError as error:
        raise click.UsageError(str(error)) from None
    with open_artifact(flags["artifact"]) as artifact:
        try:
            return name, hash_artifact(artifact, algorithm)
        except OSError as error:
            raise reading_errors(flags["artifact"], error) from None


_HASH_BY_SIZE = {32: "sha256", 48: "sha384", 64: "sha512"}


def _parse_digest(text: str) -> tuple[str | None, bytes]:
    """Return the hash's name, if it is written before a colon, and the digest."""
    name, colon, digits = text.rpartition(":")
    try:
        return (name if colon else None), bytes.fromhex(digits)
    except ValueError:
        raise click.UsageError("--digest is not hexadecimal") from None


def _numbered(name: str, number: int) -> str:
    path = Path(name)
    return str(path.with_name(f"{path.stem}.{number}{path.suffix}"))


def _report_timestamps(written: Sequence[tuple[Timestamp, str]], *, several: bool, as_json: bool) -> None:
    documents = [
        {
            "Timestamp": f"{stamp.time:%Y-%m-%dT%H:%M:%SZ}",
            "Location": location,
            "Server": stamp.url,
            **({"Warnings": list(stamp.warnings)} if stamp.warnings else {}),
        }
        for stamp, location in written
    ]
    if as_json:
        console.print_json({"Timestamps": documents} if several else documents[0])
        return
    for stamp, location in written:
        # With the reply itself on stdout, what people read goes elsewhere.
        by = f" by {stamp.url}" if several else ""
        click.echo(f"Artifact timestamped at {stamp.time:%Y-%m-%d %H:%M:%S} UTC{by}", err=location == STANDARD)
        click.echo(f"Wrote timestamp response to {location}", err=location == STANDARD)


@cli.command()
@option("--timestamp", "reply", required=True, metavar="FILE", help="The reply or the bare token; - for stdin.")
@option("--artifact", metavar="FILE", help="What was timestamped; - for standard input.")
@option("--digest", metavar="HEX", help="Its digest instead; sha384:HEX names the hash.")
@option("--request", metavar="FILE", help="The request that was sent: imprint, policy and nonce must match it.")
@option("--certificate-chain", metavar="FILE", help="PEM chain up to its self-signed root, signer included or not.")
@option("--root-certificates", metavar="FILE", help="PEM roots to trust.")
@option("--intermediate-certificates", metavar="FILE", help="PEM certificates between signer and root.")
@option("--certificate", metavar="FILE", help="The only signer's certificate to accept.")
@option("--nonce", type=int, metavar="N", help="The nonce that the token must have.")
@option("--oid", metavar="OID", help="The policy that the token must have.")
@option("--common-name", metavar="CN", help="The common name that the signer must have.")
@option("--crl", multiple=True, metavar="FILE", help="A CRL to check the signer against; repeat it for several.")
@option("--ocsp", multiple=True, metavar="FILE", help="An OCSP response to check it against; repeat it for several.")
@option(
    "--revocation",
    type=click.Choice(["signer", "path"]),
    default="signer",
    show_default=True,
    help="Which certificates the CRLs and OCSP responses must cover.",
)
@option("--fetch-crls", cls=BooleanFlag, help="Fetch the CRLs that the path's certificates point to.")
@common_options
@click.pass_context
def verify(ctx: click.Context, /, **flags: Any) -> None:
    """Verify a timestamp of a file.

    Exit code 0: the timestamp holds. 1: it does not, and one line says why. 2: the command cannot be run.

    \b
    Example:
      timestamp-cli verify --artifact release.tar.gz --timestamp release.tsr --certificate-chain chain.pem
    """  # noqa: D301 - the backslash is click's mark
    if flags["artifact"] is None and flags["digest"] is None and flags["request"] is None:
        raise click.UsageError("give --artifact, --digest or --request to say what the timestamp is about")
    if flags["fetch_crls"] and (flags["crl"] or flags["ocsp"] or flags["artifact"] == STANDARD):
        raise click.UsageError("--fetch-crls goes neither with --crl and --ocsp nor with an artifact on standard input")
    if STANDARD in {flags["artifact"]} & {flags["reply"]}:
        raise click.UsageError("only one of --artifact and --timestamp can be standard input")
    reply = read_file(flags["reply"])
    result = _verify(reply, flags, None)
    if flags["fetch_crls"]:
        # The path is known and trusted by now, and so are the places that its certificates name.
        result = _verify(reply, flags, _fetched(ctx, result, flags))
    if common(ctx, "output_format") == "json":
        from tsa_core.cli.timestamp_description import describe_reply

        parsed = describe_reply(reply)
        console.print_json({"TimestampPath": flags["reply"], "ParsedTimestamp": {**parsed, **_signer_of(result)}})
    else:
        click.echo(f"Successfully verified timestamp {flags['reply']}")


def _fetched(ctx: click.Context, result: VerifiedTimestamp, flags: dict[str, Any]) -> Revocation:
    from tsa_core.client import fetch_crls
    from tsa_core.verify import RevocationScope

    scope = RevocationScope(flags["revocation"])
    revocation, failures = fetch_crls(result.path, timeout=common(ctx, "timeout"), scope=scope)
    for failure in failures:
        click.echo(f"{PROGRAM}: no CRL from {failure}", err=True)
    return revocation


def _verify(reply: bytes, flags: dict[str, Any], fetched: Revocation | None) -> VerifiedTimestamp:
    from tsa_core.protocol.reply import is_token
    from tsa_core.verify import Verifier
    from tsa_core.verify.trust import read_certificates

    policies = [flags["oid"]] if flags["oid"] is not None else []
    exact = read_certificates(read_file(flags["certificate"])) if flags["certificate"] is not None else ()
    verifier = Verifier(
        _trust(flags),
        tsa_certificate=exact[0] if exact else None,
        policies=policies,
        common_name=flags["common_name"],
        revocation=fetched if fetched is not None else _revocation(flags),
    )
    call = verifier.verify_token if is_token(reply) else verifier.verify_response
    name, digest = _parse_digest(flags["digest"]) if flags["digest"] is not None else (None, None)
    request = read_file(flags["request"]) if flags["request"] is not None else None
    arguments: dict[str, Any] = {
        "digest": digest,
        "digest_algorithm": name,
        "request": request,
        "nonce": flags["nonce"],
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


def _revocation(flags: dict[str, Any]) -> Revocation | None:
    from tsa_core.verify import Revocation, RevocationScope

    if not flags["crl"] and not flags["ocsp"]:
        return None
    return Revocation.from_files(
        crls=[(name, read_file(name)) for name in flags["crl"]],
        ocsp_responses=[(name, read_file(name)) for name in flags["ocsp"]],
        scope=RevocationScope(flags["revocation"]),
    )


def _signer_of(result: VerifiedTimestamp) -> dict[str, Any]:
    return {
        "Signer": result.signer_certificate.subject.rfc4514_string(),
        "Path": [certificate.subject.rfc4514_string() for certificate in result.path],
    }


@cli.command()
@option("--timestamp", "reply", required=True, metavar="FILE", help="The reply or the bare token; - for stdin.")
@common_options
@click.pass_context
def inspect(ctx: click.Context, /, **flags: Any) -> None:
    """Show what a timestamp says; nothing is verified."""
    from tsa_core.cli.timestamp_description import describe_reply, rows

    description = describe_reply(read_file(flags["reply"]))
    if common(ctx, "output_format") == "json":
        console.print_json({"TimestampResponse": description})
    elif sys.stdout.isatty():
        console.print_table(("Field", "Value"), rows(description))
    else:
        for name, value in rows(description):
            click.echo(f"{name}: {value}")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
@click.pass_context
def version(ctx: click.Context, /, as_json: bool, **_: Any) -> None:
    """Print the versions of tsa-core, Python and the cryptographic library."""
    console.print_versions(as_json=as_json or common(ctx, "output_format") == "json")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run timestamp-cli and return the exit code; every foreseen failure is one line on stderr."""
    try:
        with guarded_output():
            code = refuse_repeated_flags(cli).main(
                args=None if arguments is None else list(arguments), prog_name=PROGRAM, standalone_mode=False
            )
    except click.UsageError as error:
        return _failed(error.format_message(), console.EXIT_USAGE)
    except click.ClickException as error:
        return _failed(error.format_message(), console.EXIT_FAILURE)
    except (click.Abort, KeyboardInterrupt):
        return _failed("interrupted", 130)
    except TsaError as error:
        return _failed(str(error), console.EXIT_FAILURE)
    except OutputError as error:
        return EXIT_OUTPUT if error.quiet else _failed(str(error), EXIT_OUTPUT)
    return code if isinstance(code, int) else 0


def _failed(text: str, code: int) -> int:
    click.echo(f"{PROGRAM}: {' '.join(text.split())}", err=True)
    return code


def main() -> NoReturn:
    """Run timestamp-cli."""
    # What cryptography thinks of other people's certificates does not help whoever reads our one line.
    warnings.simplefilter("ignore")
    raise SystemExit(run())


if __name__ == "__main__":
    main()
