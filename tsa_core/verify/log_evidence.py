"""Whether a timestamp is in a public log that witnesses saw in time, so that it cannot have been backdated.

A stolen key, or an operator who lies, can sign any genTime. They cannot make a witness say that it saw the token's
entry at a time that has passed. Rule V22.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidSignature

from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.transparency.checkpoint import Cosignature
from tsa_core.protocol.transparency.leaf import entry_of
from tsa_core.protocol.transparency.log_proof import LogProof, parse_log_proof
from tsa_core.protocol.transparency.note import VerifierKey
from tsa_core.protocol.transparency.policy import LogPolicy
from tsa_core.values import Value
from tsa_core.verify.errors import LogProofError, printable

DEFAULT_DELAY: Final = timedelta(seconds=60)
"""How long after genTime a quorum of witnesses must have seen the entry, unless the verifier says otherwise."""


class LogEvidence(Value):
    """What a proof shows: the timestamp is entry `index` of a log.

    `witnesses` are the cosignatures that count, by time. `seen_by` is the time by which a quorum of the policy had
    seen it, None for a policy that asks for no witness: then nothing bounds the time but the log's own word.
    """

    origin: str
    index: int
    size: int
    witnesses: tuple[Cosignature, ...]
    seen_by: datetime | None


def verify_log_proof(
    timestamp: bytes, proof: bytes, *, policy: LogPolicy, delay: timedelta = DEFAULT_DELAY
) -> LogEvidence:
    """Return what a proof (C2SP tlog-proof) shows of a verified reply or bare token; raises LogProofError.

    It must lead from the token's entry to a checkpoint that a log of `policy` signed, and that a quorum of its
    witnesses cosigned within `delay` of genTime, by their own clocks. The token itself is verified elsewhere.
    """
    try:
        entry, found = entry_of(timestamp), parse_log_proof(proof)
        encoded = entry.encode()
    except (EncodingError, ValueError) as error:
        raise LogProofError(f"the proof cannot be used: {error}") from None
    checkpoint = found.signed.checkpoint
    if not found.proves(encoded):
        raise LogProofError(f"the proof is of another entry of {printable(checkpoint.origin)}, or of another tree")
    _check_log(found, [log.key for log in policy.logs])
    try:
        cosignatures = found.signed.signed_by(witness.key for witness in policy.witnesses.values())
    except InvalidSignature:
        raise LogProofError("a cosignature of a known witness does not verify") from None
    in_time = _in_time(cosignatures, entry.gen_time, delay)
    if not policy.satisfied_by(lambda key: key in in_time):
        raise LogProofError(_too_few(policy, cosignatures, entry.gen_time, delay))
    witnesses = tuple(sorted(in_time.values(), key=lambda each: each.time or entry.gen_time))
    return LogEvidence(
        origin=checkpoint.origin,
        index=found.index,
        size=checkpoint.size,
        witnesses=witnesses,
        seen_by=_quorum_time(policy, witnesses),
    )


def _check_log(proof: LogProof, keys: list[VerifierKey]) -> None:
    """Raise LogProofError unless a log of the policy signed the checkpoint, in its own name."""
    origin = proof.signed.checkpoint.origin
    known = [key for key in keys if key.name == origin]
    if not known:
        raise LogProofError(f"the log {printable(origin)} is none that is trusted")
    try:
        signed = proof.signed.signed_by(known)
    except InvalidSignature:
        signed = []
    if not signed:
        raise LogProofError(f"the checkpoint is not signed by the log {printable(origin)}")


def _in_time(
    cosignatures: Iterable[Cosignature], gen_time: datetime, delay: timedelta
) -> dict[VerifierKey, Cosignature]:
    """Return the cosignatures near genTime, the earliest of each witness; before genTime a delay is allowed too."""
    found: dict[VerifierKey, Cosignature] = {}
    for each in cosignatures:
        if each.time is None or abs(each.time - gen_time) > delay:
            continue
        earlier = found.get(each.key)
        if earlier is None or earlier.time is None or each.time < earlier.time:
            found[each.key] = each
    return found


def _quorum_time(policy: LogPolicy, witnesses: Iterable[Cosignature]) -> datetime | None:
    """Return the time of the witness that made the quorum complete."""
    seen: set[VerifierKey] = set()
    if policy.satisfied_by(seen.__contains__):
        return None
    for each in witnesses:
        seen.add(each.key)
        if policy.satisfied_by(seen.__contains__):
            return each.time
    return None


def _too_few(policy: LogPolicy, cosignatures: list[Cosignature], gen_time: datetime, delay: timedelta) -> str:
    seconds = f"{delay.total_seconds():g} s"
    text = f"too few witnesses saw the entry within {seconds} of genTime: {printable(policy.wants)} must have"
    times = [each.time for each in cosignatures if each.time is not None]
    if not times:
        return f"{text}, and none of the known witnesses cosigned the checkpoint"
    nearest = min(times, key=lambda time: abs(time - gen_time))
    offset = (nearest - gen_time).total_seconds()
    return f"{text}; the nearest cosignature is of {abs(offset):.0f} s {'after' if offset >= 0 else 'before'} genTime"
