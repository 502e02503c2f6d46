"""The flags of timestamp-cli verify about a log: the proof, and whose signatures it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import read_file
from tsa_core.cli.timestamp.flags import Call, flag, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tsa_core.protocol.transparency.note import VerifierKey
    from tsa_core.verify import LogPolicy, VerifiedTimestamp

LOG_FLAGS: Final = (
    flag(
        "--log-proof", metavar="FILE", help="The proof that the timestamp is in a public log, as `log prove` writes it."
    ),
    flag("--log-key", multiple=True, metavar="VKEY", help="The verifier key of a log to trust. Repeat it for more."),
    flag("--witness", multiple=True, metavar="VKEY", help="The verifier key of a witness. Repeat it for more."),
    flag(
        "--witness-threshold",
        least=0,
        most=1000,
        metavar="N",
        help="How many of these witnesses must have cosigned in time (default: all of them).",
    ),
    flag("--log-policy", metavar="FILE", help="A policy file (C2SP tlog-policy) instead of these keys."),
    flag(
        "--log-delay",
        convert=seconds,
        metavar="TIME",
        help="How far from genTime the witnesses may have cosigned (default: 60s).",
    ),
)
_KEYS: Final = ("log_key", "witness", "witness_threshold")
_ALONE: Final = (*_KEYS, "log_policy", "log_delay")
"""What has no effect without a proof."""


def check_log_flags(flags: Mapping[str, Any]) -> None:
    """Raise UsageMistake for flags about a log that do not go together."""
    given = [name for name in _ALONE if flags[name] not in {None, ()}]
    if flags["log_proof"] is None:
        if given:
            raise UsageMistake(f"--{given[0].replace('_', '-')} has no effect without --log-proof")
        return
    given = [name for name in given if name in _KEYS]
    if flags["log_policy"] is not None and given:
        raise UsageMistake("give --log-policy, or --log-key and --witness")
    if flags["witness"] and flags["witness_threshold"] == 0:
        raise UsageMistake("--witness has no effect with --witness-threshold 0")
    if flags["log_policy"] is None and not flags["log_key"]:
        raise UsageMistake("with --log-proof give --log-key and --witness, or --log-policy, to say whom you trust")


def with_log_proof(call: Call, reply: bytes, result: VerifiedTimestamp) -> VerifiedTimestamp:
    """Return the verdict with what the proof shows, where one was given; raises LogProofError or UsageMistake."""
    flags = call.flags
    if flags["log_proof"] is None:
        return result
    from datetime import timedelta

    from tsa_core.verify import verify_log_proof

    proof, policy = read_file(flags["log_proof"]), _policy(flags)
    if flags["log_delay"] is None:
        evidence = verify_log_proof(reply, proof, policy=policy)
    else:
        evidence = verify_log_proof(reply, proof, policy=policy, delay=timedelta(seconds=flags["log_delay"]))
    return result.replace(log=evidence)


def _policy(flags: Mapping[str, Any]) -> LogPolicy:
    from tsa_core.protocol.errors import EncodingError
    from tsa_core.verify import parse_policy, threshold_policy

    if flags["log_policy"] is not None:
        try:
            return parse_policy(read_file(flags["log_policy"]))
        except EncodingError as error:
            raise UsageMistake(f"--log-policy: {error}") from None
    witnesses = verifier_keys("--witness", flags["witness"])
    threshold = flags["witness_threshold"]
    try:
        return threshold_policy(
            verifier_keys("--log-key", flags["log_key"]),
            witnesses,
            len(witnesses) if threshold is None else int(threshold),
        )
    except ValueError as error:
        raise UsageMistake(f"--witness-threshold: {error}") from None


def verifier_keys(name: str, texts: tuple[str, ...]) -> list[VerifierKey]:
    """Return the keys of a flag; raises UsageMistake for a text that is none."""
    from tsa_core.protocol.errors import EncodingError
    from tsa_core.protocol.transparency.note import parse_verifier_key

    try:
        return [parse_verifier_key(text) for text in texts]
    except EncodingError as error:
        raise UsageMistake(f"{name}: {error}") from None
