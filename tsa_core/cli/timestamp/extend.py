"""timestamp-cli extend: put a later timestamp over one, before it weakens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.refuse_inputs import refuse_inputs
from tsa_core.cli.timestamp.connection import CONNECTION_FLAGS, connection_settings
from tsa_core.cli.timestamp.files import STANDARD, read_file, refuse_existing, write_timestamp
from tsa_core.cli.timestamp.flags import PROGRAM, Call, flag
from tsa_core.cli.timestamp.layers import verdict_on
from tsa_core.cli.timestamp.revocation import REVOCATION_FLAGS, fetched_revocation, given_revocation
from tsa_core.cli.timestamp.trust import TRUST_FLAGS, trust_of

if TYPE_CHECKING:
    from tsa_core.protocol.timestamped_data import TimeStampedData
    from tsa_core.verify import Revocation, TrustStore, VerifiedTimestamp

FLAGS: Final = (
    flag(
        "--timestamp",
        name="reply",
        required=True,
        metavar="FILE",
        help="The reply, the bare token, or a .tsd that was extended before.",
    ),
    flag("--artifact", metavar="FILE", help="What was timestamped; may be left out when the .tsd holds it."),
    flag("--digest", metavar="HEX", help="Its digest instead; sha384:HEX names the hash."),
    flag("--out", required=True, metavar="FILE.tsd", help="Where to put the TimeStampedData (RFC 5544); - is stdout."),
    flag("--content", boolean=True, help="Put the artifact itself into the .tsd too."),
    flag("--force", boolean=True, help="Replace --out when it is there already and is not --timestamp."),
    flag("--wrap", boolean=True, help="Only make a .tsd of it: no authority is asked, and nothing is verified."),
    flag("--hash", name="hash_name", metavar="NAME", help="Hash of the new timestamp: sha256 (default), sha512, ..."),
    flag("--tsa-policy", metavar="OID", help="Ask for this policy."),
    flag("--allow", multiple=True, metavar="NAME", help="As of verify: accept although a rule refuses it."),
    *TRUST_FLAGS,
    *(each for each in REVOCATION_FLAGS if each.name != "fetch_issuers"),
    *CONNECTION_FLAGS,
)
_WITHOUT_WRAP: Final = (
    *("digest", "hash_name", "tsa_policy", "allow", "revocation", "crl", "ocsp", "fetch_crls", "fetch_ocsp"),
    *(each.name for each in TRUST_FLAGS),
)
_INPUTS: Final = ("artifact", "ca", "client_certificate", "client_key", "token_file")


def extend(call: Call) -> None:
    """Put a later timestamp over one, before it weakens.

    The file is verified first, with the trust flags. Its certificates, and the CRLs and OCSP responses that are given
    or fetched, go into it; the new timestamp covers all of that. verify then checks each layer at the time of the next.
    Do it again before the date that is printed; --timestamp may be the .tsd, and --out the same file.

    \b
    Examples:
      timestamp-cli extend --timestamp r.tsr --artifact a.pdf --out a.tsd --root-certificates roots.pem --fetch-ocsp
      timestamp-cli verify --timestamp a.tsd --artifact a.pdf --root-certificates roots.pem
    """  # noqa: D301 - the backslash is click's mark
    from dataclasses import replace

    from tsa_core.client.extend import extend as extended
    from tsa_core.client.extend import last_verdict
    from tsa_core.protocol.errors import EncodingError
    from tsa_core.verify import RevocationScope

    flags = call.flags
    name, out = flags["reply"], flags["out"]
    for option in (option for option in _INPUTS if out != STANDARD):
        refuse_inputs("--out", out, [(f"--{option.replace('_', '-')}", flags[option])])
    if not flags["force"] and out != STANDARD and not _is_same(name, out):
        refuse_existing(out)
    archive = _archive(call)
    if flags["wrap"]:
        _refuse_with_wrap(call)
        _write(call, archive)
        return
    servers = call.common("timestamp_server")
    if len(servers) != 1:
        raise UsageMistake("extend asks one --timestamp_server: the layers are over each other, not side by side")
    trust, revocation = trust_of(call), given_revocation(flags)
    if flags["fetch_crls"] or flags["fetch_ocsp"]:
        verdict = verdict_on(archive, name, flags, trust, None)
        revocation = fetched_revocation(call, last_verdict(verdict), revocation)
    settings = connection_settings(call)
    heeded = revocation
    if revocation is not None and flags["revocation"] is None:
        # Of the earlier layers it says nothing, and they may have none: only --revocation demands it of all.
        heeded = replace(revocation, scope=RevocationScope.AT_HAND)

    def stamp(data: bytes) -> bytes:
        from tsa_core.client import TimestampClient

        with TimestampClient(servers[0], **settings) as client:
            reply = client.stamp(artifact=data, hash_name=flags["hash_name"] or "sha256", policy=flags["tsa_policy"])
        return reply.reply

    def verify(data: TimeStampedData) -> VerifiedTimestamp:
        # What was given is for the layer that was the last one; afterwards it stands inside.
        own = heeded if len(data.layers) == len(archive.layers) else None
        return _verified(call, data, trust, own)

    try:
        result = extended(archive, stamp=stamp, verify=verify, revocation=revocation)
    except EncodingError as error:
        raise UsageMistake(f"{name}: {error}") from None
    _write(call, result.archive)
    _report(call, result.archive, result.verdict, f"{result.extend_before:%Y-%m-%dT%H:%M:%SZ}")


def _refuse_with_wrap(call: Call) -> None:
    """Raise UsageMistake for what would be asked or verified, where nobody is asked and nothing is verified."""
    given = [name for name in _WITHOUT_WRAP if call.is_typed(name)]
    if call.flags["artifact"] is not None and not call.flags["content"]:
        given.append("artifact")
    if given:
        option = given[0].replace("_name", "").replace("_", "-")
        raise UsageMistake(f"--{option} has no effect with --wrap, which verifies nothing and asks nobody")


def _verified(call: Call, data: TimeStampedData, trust: TrustStore, revocation: Revocation | None) -> VerifiedTimestamp:
    return verdict_on(data, call.flags["reply"], call.flags, trust, revocation)


def _archive(call: Call) -> TimeStampedData:
    from dataclasses import replace

    from tsa_core.client.extend import wrap
    from tsa_core.protocol.errors import EncodingError
    from tsa_core.protocol.timestamped_data import MAX_ARCHIVE_OCTETS, is_timestamped_data
    from tsa_core.verify.layers import open_timestamped_data

    flags = call.flags
    if flags["reply"] == STANDARD == flags["artifact"]:
        raise UsageMistake("only one of --artifact and --timestamp can be standard input")
    if flags["artifact"] == STANDARD:
        raise UsageMistake("--artifact is read twice here, so it cannot be standard input")
    data = read_file(flags["reply"], MAX_ARCHIVE_OCTETS)
    try:
        archive = open_timestamped_data(data) if is_timestamped_data(data) else wrap(data)
    except EncodingError as error:
        raise UsageMistake(f"{flags['reply']} is no timestamp: {error}") from None
    if not flags["content"]:
        return archive
    if flags["artifact"] is None:
        raise UsageMistake("--content needs --artifact, the file to put in")
    return replace(archive, content=read_file(flags["artifact"], MAX_ARCHIVE_OCTETS - len(data)))


def _write(call: Call, archive: TimeStampedData) -> None:
    name, out = call.flags["reply"], call.flags["out"]
    if _is_same(name, out):
        _replace(out, archive.encode())
    else:
        write_timestamp(out, archive.encode(), force=bool(call.flags["force"]))


def _is_same(first: str, second: str) -> bool:
    return STANDARD not in {first, second} and Path(second).exists() and Path(first).samefile(second)


def _replace(name: str, data: bytes) -> None:
    """Write the file anew, whole or not at all: it may be the only one that proves what it proves."""
    from tsa_core.durable import replace_file

    path = Path(name).resolve()
    try:
        replace_file(path, data, mode=path.stat().st_mode & 0o777)
    except OSError as error:
        raise UsageMistake(f"{name} cannot be written: {error.strerror}") from None


def _report(call: Call, archive: TimeStampedData, verdict: VerifiedTimestamp, before: str) -> None:
    from tsa_core.client.extend import last_verdict

    last = last_verdict(verdict)
    covered = verdict
    while covered.proof is not None and covered.proof is not last:
        covered = covered.proof
    location = call.flags["out"]
    if not covered.revocation_checked:
        console.tell(
            f"{PROGRAM}: warning: whether the certificate of the timestamp before was revoked is not in the file; "
            "add --fetch-ocsp or --fetch-crls, or give --crl or --ocsp"
        )
    if call.as_json and location != STANDARD:
        console.print_json(
            {
                "Location": location,
                "Layers": len(archive.layers),
                "Timestamp": f"{verdict.gen_time:%Y-%m-%dT%H:%M:%SZ}",
                "Extended": f"{last.gen_time:%Y-%m-%dT%H:%M:%SZ}",
                "ExtendBefore": before,
            }
        )
        return
    error = location == STANDARD
    console.echo(f"Extended at {last.gen_time:%Y-%m-%d %H:%M:%S} UTC; the first of {len(archive.layers)} timestamps is "
                 f"of {verdict.gen_time:%Y-%m-%d %H:%M:%S} UTC", err=error)  # fmt: skip
    console.echo(f"Wrote {location}; extend it again before {before}", err=error)
