"""timestamp-cli verify: verify a timestamp and say what the verdict is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import (
    STANDARD,
    open_artifact,
    parse_digest,
    read_file,
    read_timestamp,
    reading_errors,
)
from tsa_core.cli.timestamp.flags import TSA, Call, flag, integer, moment
from tsa_core.cli.timestamp.layers import names_timestamped_data, verify_layers
from tsa_core.cli.timestamp.log_flags import LOG_FLAGS, check_log_flags, with_log_proof
from tsa_core.cli.timestamp.many_flags import MANY_VERIFY_FLAGS, is_for_many, refuse_flags_for_many
from tsa_core.cli.timestamp.revocation import (
    REVOCATION_FLAGS,
    fetched_revocation,
    fetches_evidence,
    given_revocation,
    with_fetched_issuers,
)
from tsa_core.cli.timestamp.trust import TRUST_FLAGS, trust_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tsa_core.verify import Revocation, TrustStore, VerificationError, VerifiedTimestamp, Verifier
    from tsa_core.verify.expectations import Acceptance

    _Check = Callable[..., VerifiedTimestamp]


FLAGS: Final = (
    flag("--timestamp", name="reply", metavar="FILE", help="The reply, the bare token or a .tsd; - for stdin."),
    flag(
        "--bundle",
        metavar="FILE",
        help="A Sigstore bundle instead: every RFC 3161 timestamp of its signature. Or what `timestamp --bundle` made.",
    ),
    flag("--artifact", metavar="FILE", help="What was timestamped; - for standard input."),
    flag("--digest", metavar="HEX", help="Its digest instead; sha384:HEX names the hash."),
    flag("--request", metavar="FILE", help="The request that was sent: imprint, policy and nonce must match it."),
    *TRUST_FLAGS,
    TSA,
    flag("--certificate", metavar="FILE", help="The only signer's certificate to accept."),
    flag("--nonce", convert=integer, metavar="N", help="The nonce that the token must have; decimal, or 0x..."),
    flag("--oid", metavar="OID", help="The policy that the token must have."),
    flag("--common-name", metavar="CN", help="The common name that the signer must have."),
    flag(
        "--time",
        convert=moment,
        metavar="TIME",
        help="Verify for this moment, 2026-01-31T12:00:00Z (default: genTime).",
    ),
    flag(
        "--allow",
        multiple=True,
        metavar="NAME",
        help="Accept although a rule refuses it: sha1, md5, rsa1024, noncritical-eku or tsa-name. Repeat it for more.",
    ),
    flag(
        "--algorithms",
        choices=("strict", "by-date"),
        default="strict",
        shown_default="strict",
        help="by-date: accept an algorithm that is weak today if --proof shows that the timestamp is older than its "
        "end.",
    ),
    flag(
        "--proof",
        multiple=True,
        metavar="FILE",
        help="A later timestamp over the one of --timestamp; a second --proof is over the first, and so on.",
    ),
    *REVOCATION_FLAGS,
    *LOG_FLAGS,
    *MANY_VERIFY_FLAGS,
)


def verify(call: Call) -> int | None:
    """Verify a timestamp of a file, or those of many.

    The verdict says what it is worth: who vouches for the time, and what was not checked.

    Exit code 0: the timestamp holds. 1: it does not, or one of many does not or is missing, and a line says why. 2: the
    command cannot be run.

    FILEs are files, directories, patterns in quotes, and - for standard input: what was given to `timestamp`. Their
    timestamps or evidence records are beside them (a.txt.tsr, .tst, .p7s, .ers), or in --out-dir.

    \b
    Examples:
      timestamp-cli verify --artifact release.tar.gz --timestamp release.tsr --certificate-chain chain.pem
      timestamp-cli verify --bundle release.sigstore.json --trust sigstore
      timestamp-cli verify --bundle stamps.json --certificate-chain root.pem
      timestamp-cli verify dist/ --out-dir stamps --certificate-chain chain.pem --report junit
    """  # noqa: D301 - the backslash is click's mark
    flags = call.flags
    many = is_for_many(call)
    if many:
        from tsa_core.cli.timestamp.many import verifying

        verifying.check_flags(call)
    else:
        refuse_flags_for_many(call)
        if names_timestamped_data(flags["reply"]) and flags["bundle"] is None:
            refuse_flags_for_many(call, "quiet")
            verify_layers(call)
            return None
        _check_combinations(flags)
    fetches = fetches_evidence(flags)
    revocation = given_revocation(flags)
    from tsa_core.verify.tolerances import check_allowances

    try:
        check_allowances(flags["allow"])
    except ValueError as error:
        raise UsageMistake(f"--allow: {error}") from None
    trust = trust_of(call)
    if many:
        from functools import partial

        from tsa_core.cli.timestamp.many.checking import Checker

        finder, bundle = verifying.find_timestamps(call)
        if bundle is not None:
            trust, revocation = verifying.with_helpers(flags, bundle, trust, revocation)
        checker = Checker(call, trust, revocation, partial(_acceptance, flags), finder=finder, fetches=fetches)
        items = verifying.find_files(call, finder)
        return verifying.verify_many(call, items, checker, alone=fetches or bool(flags["fetch_issuers"]))

    def check(reply: bytes, signature: bytes | None = None) -> VerifiedTimestamp:
        return _verdict(call, reply, trust, revocation, fetches=fetches, signature=signature)

    return (_verify_one if flags["bundle"] is None else _verify_bundle)(call, check)


def _check_combinations(flags: Mapping[str, Any]) -> None:
    """Raise UsageMistake for flags that do not go together."""
    if (flags["reply"] is None) == (flags["bundle"] is None):
        raise UsageMistake("give --timestamp or --bundle")
    if flags["bundle"] is not None:
        for name in ("artifact", "digest", "request", "nonce", "proof", "log_proof"):
            if flags[name]:
                raise UsageMistake(
                    f"--{name.replace('_', '-')} has no effect with --bundle: its timestamps are of its signature"
                )
    elif flags["artifact"] is None and flags["digest"] is None and flags["request"] is None:
        raise UsageMistake("give --artifact, --digest or --request to say what the timestamp is about")
    if flags["reply"] == STANDARD == flags["artifact"]:
        raise UsageMistake("only one of --artifact and --timestamp can be standard input")
    if flags["proof"] and flags["algorithms"] != "by-date":
        raise UsageMistake("--proof goes with --algorithms by-date; otherwise it has no effect")
    check_log_flags(flags)


def _verify_one(call: Call, check: _Check) -> None:
    from tsa_core.cli.timestamp.verdict import print_verdict
    from tsa_core.verify import MalformedTimestamp, VerificationError

    name = call.flags["reply"]
    reply = read_timestamp(name)
    try:
        result = with_log_proof(call, reply, check(reply))
    except VerificationError as error:
        if call.as_json:
            console.print_json({"TimestampPath": name, **_refusal(error)})
        if isinstance(error, MalformedTimestamp):  # in the reference's words, for which a script may look
            raise MalformedTimestamp(f"error parsing response into Timestamp: {error}") from None
        raise
    if call.as_json:
        from tsa_core.cli.timestamp.verdict_document import verdict_document

        console.print_json({"TimestampPath": name, "Verified": True, **verdict_document(reply, result)})
    elif not call.flags["quiet"]:
        print_verdict(name, result)


def _verify_bundle(call: Call, check: _Check) -> None:
    from tsa_core.cli.timestamp.verdict import print_verdict
    from tsa_core.verify import VerificationError
    from tsa_core.verify.sigstore_bundle import read_bundle

    name = call.flags["bundle"]
    bundle = read_bundle(read_file(name))
    results: list[tuple[bytes, VerifiedTimestamp]] = []
    try:
        results.extend((reply, check(reply, bundle.signature)) for reply in bundle.timestamps)
    except VerificationError as error:
        number = len(results) + 1
        if call.as_json:
            console.print_json({"BundlePath": name, "Timestamp": number, **_refusal(error)})
        else:
            console.tell(f"timestamp {number} of {len(bundle.timestamps)} in {name}:")
        raise
    if call.as_json:
        from tsa_core.cli.timestamp.verdict_document import verdict_document

        documents = [verdict_document(reply, result) for reply, result in results]
        console.print_json({"BundlePath": name, "Verified": True, "Timestamps": documents})
        return
    if call.flags["quiet"]:
        return
    for number, (_, result) in enumerate(results, 1):
        print_verdict(f"{number} of {len(results)} in {name}", result)


def _refusal(error: VerificationError) -> dict[str, Any]:
    return {"Verified": False, "Rule": error.rule, "Reason": str(error)}


def _verdict(
    call: Call,
    reply: bytes,
    trust: TrustStore,
    revocation: Revocation | None,
    *,
    fetches: bool,
    signature: bytes | None,
) -> VerifiedTimestamp:
    flags = call.flags
    if flags["fetch_issuers"]:
        trust = with_fetched_issuers(call, reply, trust)
    result = _verify(reply, flags, trust, None if fetches else revocation, signature)
    if fetches:
        # The paths are known and trusted by now, and so are the places that their certificates name.
        verdict: VerifiedTimestamp | None = result
        while verdict is not None:
            revocation = fetched_revocation(call, verdict, revocation)
            verdict = verdict.proof
        result = _verify(reply, flags, trust, revocation, signature)
    return result


def _verify(
    reply: bytes, flags: Mapping[str, Any], trust: TrustStore, revocation: Revocation | None, signature: bytes | None
) -> VerifiedTimestamp:
    from tsa_core.cli.timestamp.tokens import verify_with

    verifier = _verifier(flags, trust, revocation)
    name, digest = parse_digest(flags["digest"]) if flags["digest"] is not None else (None, None)
    request = read_file(flags["request"]) if flags["request"] is not None else None
    arguments: dict[str, Any] = {
        "digest": digest,
        "digest_algorithm": name,
        "request": request,
        "nonce": flags["nonce"],
        "time": flags["time"],
        "proofs": tuple(map(read_timestamp, flags["proof"])),
    }
    if signature is not None:
        return verify_with(verifier, reply, artifact=signature, **arguments)
    if flags["artifact"] is None:
        return verify_with(verifier, reply, **arguments)
    with open_artifact(flags["artifact"]) as artifact:
        try:
            return verify_with(verifier, reply, artifact=artifact, **arguments)
        except OSError as error:
            raise reading_errors(flags["artifact"], error) from None


def _verifier(flags: Mapping[str, Any], trust: TrustStore, revocation: Revocation | None) -> Verifier:
    """Return what verifies by the flags that say which timestamps are accepted."""
    from tsa_core.verify import Verifier

    return Verifier(trust, **_acceptance(flags, revocation))


def _acceptance(flags: Mapping[str, Any], revocation: Revocation | None) -> Acceptance:
    from tsa_core.verify import DEFAULT_PERIODS
    from tsa_core.verify.trust import read_certificates

    exact = read_certificates(read_file(flags["certificate"])) if flags["certificate"] is not None else ()
    return {
        "tsa_certificate": exact[0] if exact else None,
        "policies": [flags["oid"]] if flags["oid"] is not None else None,
        "common_name": flags["common_name"],
        "revocation": revocation,
        "allow": flags["allow"],
        "algorithm_periods": DEFAULT_PERIODS if flags["algorithms"] == "by-date" else (),
    }
