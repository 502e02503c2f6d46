"""timestamp-cli timestamp: get timestamps and write them to files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.refuse_inputs import refuse_inputs
from tsa_core.cli.timestamp.connection import CONNECTION_FLAGS, connection_settings
from tsa_core.cli.timestamp.files import (
    STANDARD,
    open_artifact,
    parse_digest,
    read_file,
    reading_errors,
    refuse_existing,
    write_timestamp,
)
from tsa_core.cli.timestamp.flags import PROGRAM, TSA, Call, flag
from tsa_core.cli.timestamp.many_flags import (
    DEFAULT_OUT,
    EVIDENCE,
    INPUTS,
    MANY_STAMP_FLAGS,
    is_for_many,
    refuse_flags_for_many,
)
from tsa_core.protocol.errors import TsaError

if TYPE_CHECKING:
    from tsa_core.client import ClientSettings, Timestamp
    from tsa_core.verify import TrustStore


FLAGS: Final = (
    flag("--artifact", metavar="FILE", help="What to timestamp; - for standard input."),
    flag("--digest", metavar="HEX", help="Its digest, if it has been hashed already; sha384:HEX names the hash."),
    flag(
        "--hash",
        name="hash_name",
        metavar="NAME",
        help="sha256 (default), sha384, sha512, sha3-256, sha3-384, sha3-512.",
    ),
    flag("--nonce", boolean=True, default=True, help="Send a random nonce (default: true)."),
    flag("--certificate", boolean=True, default=True, help="Ask for the signer's certificate (default: true)."),
    TSA,
    flag("--tsa-policy", metavar="OID", help="Ask for this policy."),
    flag(
        "--out",
        default=DEFAULT_OUT,
        shown_default=DEFAULT_OUT,
        metavar="FILE",
        help="Where to put the reply; - is stdout.",
    ),
    flag("--token-out", metavar="FILE", help="Where to put the bare token of the reply; - is stdout."),
    flag("--threshold", least=1, help="How many of several servers must answer (default: all)."),
    flag("--verify-with", metavar="CHAIN", help="Accept only what verifies with this certificate chain."),
    *MANY_STAMP_FLAGS,
    *CONNECTION_FLAGS,
)


def timestamp(call: Call) -> int | None:
    """Get a timestamp for a file, or for many.

    The reply is checked against the request before it is written. Several servers write one file each:
    response.1.tsr, response.2.tsr and so on.

    FILEs are files, directories, patterns in quotes, and - for standard input. The server is asked once for all, and
    each gets an evidence record (RFC 4998) beside it (a.txt.ers), or in --out-dir; with --each, a timestamp of its own
    (a.txt.tsr). What has a valid one there already is not asked for again: after an interruption the same command does
    the rest.

    \b
    Examples:
      timestamp-cli timestamp --artifact release.tar.gz --out release.tsr
      timestamp-cli timestamp archive/ --out-dir proofs
      timestamp-cli timestamp --each dist/
      find archive -name '*.pdf' -print0 | timestamp-cli timestamp --from-file - --bundle pdfs.bundle
      timestamp-cli timestamp --each --sums SHA256SUMS
      timestamp-cli timestamp --artifact a.txt --token-out a.tst
      timestamp-cli timestamp --artifact a.txt --timestamp_server https://a.example --timestamp_server \\
          https://b.example --threshold 1
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    from tsa_core.client import stamp_all
    from tsa_core.client.several import distinct_urls

    flags = call.flags
    as_json = call.as_json
    if is_for_many(call):
        from tsa_core.cli.timestamp.many.stamping import stamp_many

        trust = _trust(call)
        return stamp_many(call, _settings(call, trust), trust)
    refuse_flags_for_many(call, "bundle", *EVIDENCE)
    if as_json and STANDARD in (flags["out"], flags["token_out"]):
        raise UsageMistake("--out - and --format json both need standard output")
    hash_name, digest = _digest_to_stamp(flags)
    settings = _settings(call, _trust(call))
    servers: Sequence[str] = distinct_urls(_servers(call))
    threshold = flags["threshold"] or len(servers)
    if threshold > len(servers):
        raise UsageMistake(f"--threshold is {threshold}, but there are only {len(servers)} servers")
    if STANDARD in (flags["out"], flags["token_out"]) and len(servers) > 1:
        raise UsageMistake("--out - takes the reply of one server only")
    single = len(servers) == 1
    outputs = _outputs(flags)
    locations = [
        [name if single else _numbered(name, number + 1) for name, _ in outputs] for number in range(len(servers))
    ]
    inputs = [(f"--{name.replace('_', '-')}", flags[name]) for name in INPUTS]
    for location in (each for group in locations for each in group if each != STANDARD):
        refuse_inputs("--out", location, [*inputs, ("--config", call.common("config"))])
        if not flags["force"]:
            refuse_existing(location)
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
    for stamp, group in zip(result.timestamps, locations, strict=False):
        for location, (_, convert) in zip(group, outputs, strict=True):
            write_timestamp(location, convert(stamp.reply), force=bool(flags["force"]))
        written.append((stamp, group[0]))
    for failure in result.failures:
        console.tell(f"{PROGRAM}: no timestamp from {failure}")
    for stamp in result.timestamps:
        for warning in stamp.warnings:
            console.tell(f"{PROGRAM}: warning: {stamp.url}: {warning}")
    _report_timestamps(written, several=len(servers) > 1, as_json=as_json)
    return None


def _outputs(flags: Mapping[str, Any]) -> list[tuple[str, Callable[[bytes], bytes]]]:
    """Return the files of a timestamp, and what makes the content of each of a reply: the reply, the token, or both."""
    token_out = flags["token_out"]
    outputs: list[tuple[str, Callable[[bytes], bytes]]] = []
    if token_out is None or flags["out"] != DEFAULT_OUT:
        outputs.append((flags["out"], bytes))
    if token_out is not None:
        if token_out == flags["out"]:
            raise UsageMistake("--out and --token-out name the same file")
        from tsa_core.cli.timestamp.tokens import bare_token

        outputs.append((token_out, bare_token))
    return outputs


def _servers(call: Call) -> Sequence[str]:
    if call.flags["tsa"] is None:
        return tuple(call.common("timestamp_server"))
    from tsa_core.cli.timestamp.authorities import servers_of

    return servers_of(call)


def _trust(call: Call) -> TrustStore | None:
    """Return whom --verify-with or --tsa trusts; None without them, and for an authority whose root is not known."""
    chain = call.flags["verify_with"]
    if chain is not None:
        from tsa_core.verify import TrustStore

        return TrustStore.from_chain(read_file(chain))
    if call.flags["tsa"] is None:
        return None
    from tsa_core.cli.timestamp.authorities import authority_of, why_not_trusted
    from tsa_core.cli.timestamp.trust import trust_in

    authority = authority_of(call)
    assert authority is not None  # noqa: S101 - the flag was given
    trust = trust_in(authority, call)
    if trust is None:
        console.tell(f"{PROGRAM}: not verified: {why_not_trusted(authority).partition(';')[0]}")
    return trust


def _settings(call: Call, trust: TrustStore | None) -> ClientSettings:
    settings = connection_settings(call)
    if trust is not None:
        from tsa_core.verify import Verifier

        settings["verifier"] = Verifier(trust)
    return settings


def _digest_to_stamp(flags: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return the hash's name and the digest of what is to be timestamped."""
    from tsa_core.client.request import strong_hash
    from tsa_core.verify import hash_artifact

    if (flags["artifact"] is None) == (flags["digest"] is None):
        raise UsageMistake("give either --artifact or --digest")
    try:
        if flags["digest"] is not None:
            name, digest = parse_digest(flags["digest"])
            if flags["hash_name"] and name and strong_hash(name) is not strong_hash(flags["hash_name"]):
                raise UsageMistake(f"--hash says {flags['hash_name']}, --digest says {name}")
            name = name or flags["hash_name"] or _HASH_BY_SIZE.get(len(digest), "sha256")
            if len(digest) != strong_hash(name).digest_size:
                raise UsageMistake(f"--digest has {len(digest)} bytes, which is no {name} digest")
            return name, digest
        name = flags["hash_name"] or "sha256"
        algorithm = strong_hash(name)
    except TsaError as error:
        raise UsageMistake(str(error)) from None
    with open_artifact(flags["artifact"]) as artifact:
        try:
            return name, hash_artifact(artifact, algorithm)
        except OSError as error:
            raise reading_errors(flags["artifact"], error) from None


_HASH_BY_SIZE = {32: "sha256", 48: "sha384", 64: "sha512"}


def _numbered(name: str, number: int) -> str:
    from pathlib import Path

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
        console.echo(f"Artifact timestamped at {stamp.time:%Y-%m-%d %H:%M:%S} UTC{by}", err=location == STANDARD)
        console.echo(f"Wrote timestamp response to {location}", err=location == STANDARD)
