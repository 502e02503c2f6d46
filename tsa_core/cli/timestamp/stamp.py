"""timestamp-cli timestamp: get timestamps and write them to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.refuse_inputs import refuse_inputs
from tsa_core.cli.timestamp.connection import CONNECTION_FLAGS, connection_settings
from tsa_core.cli.timestamp.files import STANDARD, open_artifact, parse_digest, read_file, reading_errors, write_reply
from tsa_core.cli.timestamp.flags import PROGRAM, Call, flag
from tsa_core.protocol.errors import TsaError

if TYPE_CHECKING:
    from tsa_core.client import Timestamp


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
    flag("--tsa-policy", metavar="OID", help="Ask for this policy."),
    flag(
        "--out",
        default="response.tsr",
        shown_default="response.tsr",
        metavar="FILE",
        help="Where to put the reply; - is stdout.",
    ),
    flag("--threshold", least=1, help="How many of several servers must answer (default: all)."),
    flag("--verify-with", metavar="CHAIN", help="Accept only what verifies with this certificate chain."),
    *CONNECTION_FLAGS,
)


def timestamp(call: Call) -> None:
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

    flags = call.flags
    as_json = call.as_json
    if as_json and flags["out"] == STANDARD:
        raise UsageMistake("--out - and --format json both need standard output")
    hash_name, digest = _digest_to_stamp(flags)
    chain = flags["verify_with"]
    settings = connection_settings(call)
    if chain is not None:
        settings["verifier"] = Verifier(TrustStore.from_chain(read_file(chain)))
    servers: Sequence[str] = distinct_urls(call.common("timestamp_server"))
    threshold = flags["threshold"] or len(servers)
    if threshold > len(servers):
        raise UsageMistake(f"--threshold is {threshold}, but there are only {len(servers)} servers")
    if flags["out"] == STANDARD and len(servers) > 1:
        raise UsageMistake("--out - takes the reply of one server only")
    single = len(servers) == 1
    locations = [flags["out"] if single else _numbered(flags["out"], number + 1) for number in range(len(servers))]
    inputs = [(f"--{name.replace('_', '-')}", flags[name]) for name in _INPUTS]
    for location in locations:
        if location != STANDARD:
            refuse_inputs("--out", location, [*inputs, ("--config", call.common("config"))])
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
        console.tell(f"{PROGRAM}: no timestamp from {failure}")
    for stamp in result.timestamps:
        for warning in stamp.warnings:
            console.tell(f"{PROGRAM}: warning: {stamp.url}: {warning}")
    _report_timestamps(written, several=len(servers) > 1, as_json=as_json)


_INPUTS = ("artifact", "verify_with", "ca", "client_certificate", "client_key", "token_file")
"""Flags that name a file to read, which --out must not name."""


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
