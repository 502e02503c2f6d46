"""What timestamp-cli does with a TimeStampedData (RFC 5544): verify it, whichever command it is given to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import beginning_of, open_artifact, parse_digest, read_file, reading_errors
from tsa_core.cli.timestamp.flags import Call

if TYPE_CHECKING:
    from tsa_core.protocol.timestamped_data import TimeStampedData
    from tsa_core.verify import Revocation, TrustStore, VerifiedTimestamp

_TIMESTAMPED_DATA: Final = bytes.fromhex("060b2a864886f70d010910011f")
"""id-ct-timestampedData, encoded: most files do not have it, and need no reader for it."""
_WITHOUT_EFFECT: Final = (
    *("request", "nonce", "proof"),
    *("log_proof", "log_policy", "log_delay", "log_key", "witness", "witness_threshold"),
)


def names_timestamped_data(name: str | None) -> bool:
    """Say whether a file begins as a TimeStampedData does; standard input and pipes are not looked at."""
    start = beginning_of(name, 32)
    if _TIMESTAMPED_DATA not in start:
        return False
    from tsa_core.protocol.timestamped_data import is_timestamped_data

    return is_timestamped_data(start)


def verify_layers(call: Call) -> None:
    """Verify every timestamp of the file, each at the time of the next one, and print the verdict."""
    from tsa_core.cli.timestamp.revocation import given_revocation
    from tsa_core.cli.timestamp.trust import trust_of
    from tsa_core.cli.timestamp.verdict import print_verdict
    from tsa_core.protocol.timestamped_data import MAX_ARCHIVE_OCTETS
    from tsa_core.verify import VerificationError
    from tsa_core.verify.layers import open_timestamped_data
    from tsa_core.verify.tolerances import check_allowances

    flags, name = call.flags, call.flags["reply"]
    for other in _WITHOUT_EFFECT:
        if call.is_typed(other):
            option = other.replace("_", "-")
            raise UsageMistake(f"--{option} has no effect with {name}: it has layers, and each is the proof of another")
    for other in ("fetch_crls", "fetch_ocsp", "fetch_issuers"):
        if flags[other]:
            raise UsageMistake(
                f"--{other.replace('_', '-')} has no effect with {name}: what proves its layers must be in it; "
                "timestamp-cli extend fetches it and puts it in"
            )
    try:
        check_allowances(flags["allow"])
    except ValueError as error:
        raise UsageMistake(f"--allow: {error}") from None
    try:
        archive = open_timestamped_data(read_file(name, MAX_ARCHIVE_OCTETS))
        result = verdict_on(archive, name, flags, trust_of(call), given_revocation(flags))
    except VerificationError as error:
        if call.as_json:
            console.print_json({"TimestampPath": name, "Verified": False, "Rule": error.rule, "Reason": str(error)})
        raise
    if call.as_json:
        from tsa_core.cli.timestamp.verdict_document import verdict_document

        document = verdict_document(archive.layers[0].token, result)
        console.print_json({"TimestampPath": name, "Verified": True, "Layers": len(archive.layers), **document})
        return
    print_verdict(name, result)


def verdict_on(
    archive: TimeStampedData,
    name: str,
    flags: Mapping[str, Any],
    trust: TrustStore,
    revocation: Revocation | None,
) -> VerifiedTimestamp:
    """Return the verdict on the data under the flags of `verify`; those that are not there are as if not given."""
    from tsa_core.verify.layers import LayeredExpectations, verify_timestamped_data
    from tsa_core.verify.trust import read_certificates

    expectations: LayeredExpectations = {"revocation": revocation, "allow": flags["allow"], "time": flags.get("time")}
    if flags.get("certificate") is not None:
        expectations["tsa_certificate"] = read_certificates(read_file(flags["certificate"]))[0]
    if flags.get("oid") is not None:
        expectations["policies"] = [flags["oid"]]
    expectations["common_name"] = flags.get("common_name")
    if flags["digest"] is not None:
        expectations["digest_algorithm"], expectations["digest"] = parse_digest(flags["digest"])
    if flags["artifact"] is None:
        if flags["digest"] is None and archive.content is None:
            raise UsageMistake(f"{name} does not hold the data that it is about: give --artifact or --digest")
        return verify_timestamped_data(archive, trust=trust, **expectations)
    with open_artifact(flags["artifact"]) as artifact:
        try:
            expectations["artifact"] = artifact
            return verify_timestamped_data(archive, trust=trust, **expectations)
        except OSError as error:
            raise reading_errors(flags["artifact"], error) from None
