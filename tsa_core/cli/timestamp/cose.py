"""timestamp-cli cose stamp and verify: timestamps in COSE messages (RFC 9921)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.refuse_inputs import refuse_inputs
from tsa_core.cli.timestamp.connection import CONNECTION_FLAGS, connection_settings
from tsa_core.cli.timestamp.files import STANDARD, read_file, refuse_existing, write_timestamp
from tsa_core.cli.timestamp.flags import Call, flag
from tsa_core.cli.timestamp.revocation import REVOCATION_FLAGS, given_revocation
from tsa_core.cli.timestamp.trust import TRUST_FLAGS, trust_of

if TYPE_CHECKING:
    from tsa_core.cose import CoseMessage
    from tsa_core.verify import VerifiedTimestamp, Verifier

STAMP_FLAGS: Final = (
    flag("--message", metavar="FILE", help="A COSE_Sign1 or COSE_Sign: it gets a 3161-ctt over its signature."),
    flag("--payload", metavar="FILE", help="What is to be signed: --out gets a header with a 3161-ttc over it."),
    flag("--out", required=True, metavar="FILE", help="Where to put the message or the header; - is stdout."),
    flag("--force", boolean=True, help="Replace --out when it is there already."),
    flag("--hash", name="hash_name", metavar="NAME", help="Hash of the timestamp: sha256 (default), sha512, ..."),
    flag("--tsa-policy", metavar="OID", help="Ask for this policy."),
    *CONNECTION_FLAGS,
)
VERIFY_FLAGS: Final = (
    flag("--message", required=True, metavar="FILE", help="The COSE_Sign1 or COSE_Sign; - for standard input."),
    flag("--payload", metavar="FILE", help="The payload, when it is detached."),
    *TRUST_FLAGS,
    flag("--oid", metavar="OID", help="The policy that the tokens must have."),
    flag("--common-name", metavar="CN", help="The common name that their signer must have."),
    *(each for each in REVOCATION_FLAGS if not each.name.startswith("fetch_")),
)


def stamp(call: Call) -> None:
    """Put a timestamp into a COSE message, or make a header for one that is to be signed.

    With --message, the signature is timestamped: 3161-ctt, in the unprotected header. With --payload, the payload:
    3161-ttc. Its CBOR map {269: token} goes into the protected header of the message, which is signed afterwards by
    whoever has the key.

    \b
    Examples:
      timestamp-cli cose stamp --message signed.cose --out stamped.cose
      timestamp-cli cose stamp --payload statement.json --out header.cbor
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.client import TimestampClient
    from tsa_core.cose import add_ctt, check_no_ctt, ctt_input, protected_header_with_ttc

    flags = call.flags
    if (flags["message"] is None) == (flags["payload"] is None):
        raise UsageMistake("give --message, which is signed already, or --payload, which is to be signed")
    servers = call.common("timestamp_server")
    if len(servers) != 1:
        raise UsageMistake("cose stamp asks one --timestamp_server: RFC 9921 has one token of each kind in a message")
    if flags["out"] != STANDARD:
        refuse_inputs("--out", flags["out"], [("--payload", flags["payload"])])
        if not flags["force"]:
            refuse_existing(flags["out"])
    message = _read(flags["message"]) if flags["message"] is not None else None
    if message is not None:
        check_no_ctt(message)
    data = ctt_input(message) if message is not None else read_file(flags["payload"])
    with TimestampClient(servers[0], **connection_settings(call)) as client:
        timestamp = client.stamp(artifact=data, hash_name=flags["hash_name"] or "sha256", policy=flags["tsa_policy"])
    reply = timestamp.reply
    result = add_ctt(message, reply) if message is not None else protected_header_with_ttc(reply)
    write_timestamp(flags["out"], result, force=bool(flags["force"]))
    what = f"3161-ctt of the {message.kind}'s signature" if message is not None else "3161-ttc of the payload"
    error = flags["out"] == STANDARD
    if call.as_json and not error:
        console.print_json({"Timestamp": f"{timestamp.time:%Y-%m-%dT%H:%M:%SZ}", "Location": flags["out"]})
        return
    console.echo(f"{what} made at {timestamp.time:%Y-%m-%d %H:%M:%S} UTC", err=error)
    console.echo(f"Wrote {flags['out']}", err=error)


def verify(call: Call) -> None:
    """Verify the timestamps in a COSE message: 3161-ctt over its signature, 3161-ttc over its payload.

    The signature of the message is not verified. Exit code 0: every timestamp in it holds.

    \b
    Examples:
      timestamp-cli cose verify --message stamped.cose --certificate-chain chain.pem
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.cli.timestamp.verdict import print_verdict
    from tsa_core.cose import CTT, CoseError, tokens_of, verify_ctt, verify_ttc
    from tsa_core.verify import VerificationError

    flags, name = call.flags, call.flags["message"]
    message = _read(name)
    payload = read_file(flags["payload"]) if flags["payload"] is not None else None
    verifier = _verifier(call)
    tokens = tokens_of(message)
    if not tokens:
        raise CoseError(f"{name} holds no timestamp: neither 3161-ttc (269) nor 3161-ctt (270)")
    if payload is not None and CTT in tokens and len(tokens) == 1:
        raise UsageMistake("--payload has no effect: the message has no 3161-ttc, which would be over it")
    results: list[tuple[str, bytes, VerifiedTimestamp]] = []
    for label, token in tokens.items():
        kind = "3161-ctt" if label == CTT else "3161-ttc"
        try:
            result = verify_ctt(message, verifier) if label == CTT else verify_ttc(message, verifier, payload)
        except VerificationError as error:
            if call.as_json:
                document = {"Verified": False, "Parameter": kind, "Rule": error.rule, "Reason": str(error)}
                console.print_json({"MessagePath": name, **document})
            error.args = (f"{kind}: {error}",)
            raise
        results.append((kind, token, result))
    if call.as_json:
        from tsa_core.cli.timestamp.verdict_document import verdict_document

        documents = [{"Parameter": kind, **verdict_document(token, result)} for kind, token, result in results]
        console.print_json({"MessagePath": name, "Verified": True, "Timestamps": documents})
        return
    for kind, _, result in results:
        print_verdict(f"{kind} in {name}", result)
    console.echo(f"Not checked: the signature of the {message.kind}")


def _verifier(call: Call) -> Verifier:
    from tsa_core.verify import Verifier

    flags = call.flags
    return Verifier(
        trust_of(call),
        policies=[flags["oid"]] if flags["oid"] is not None else None,
        common_name=flags["common_name"],
        revocation=given_revocation({**flags, "artifact": None, "fetch_crls": False, "fetch_ocsp": False}),
    )


def _read(name: str) -> CoseMessage:
    from tsa_core.cose import read_message

    return read_message(read_file(name))
