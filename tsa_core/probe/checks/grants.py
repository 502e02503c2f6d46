"""Requests that a good authority grants: nonces, hashes and encodings that real clients send."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tsa_core.probe.cases import IMPRINTS, SHA3_HASHES, STRONG_HASHES
from tsa_core.probe.check import Area, At, Severity, check
from tsa_core.probe.evidence import Evidence, Unseen

_SMALL_NONCES: Final = ("nonce-0", "nonce-1", "nonce-8", "nonce-9")
_LARGE_NONCES: Final = ("nonce-20", "nonce-33", "nonce-64")


def _not_granted(evidence: Evidence, names: Sequence[str]) -> Iterator[str | At]:
    """Yield which of these requests brought no token, and why."""
    for name in names:
        exchange = evidence.exchange(name)
        if exchange.is_granted:
            continue
        if exchange.answer is None:
            reason = exchange.problem
        elif exchange.reply is not None and exchange.reply.status is not None:
            status = exchange.reply.status
            reason = ", ".join((status.name, *status.failure_names, *status.texts))
        else:
            reason = exchange.answer.explanation()
        yield At(exchange.case.title, f"{reason}")


@check(
    "granted",
    area=Area.REQUESTS,
    rules="S17",
    severity=Severity.CRITICAL,
    title="A plain request is granted: SHA-256, a 64 bit nonce, certReq",
    meaning="Nobody gets a timestamp here, or only who sends something unusual.",
)
def granted(evidence: Evidence) -> Iterator[str | At]:
    """Judge the first request."""
    yield from _not_granted(evidence, ["plain"])


@check(
    "no-nonce",
    area=Area.REQUESTS,
    rules="S16",
    severity=Severity.ERROR,
    title="A request without a nonce is granted",
    meaning="The nonce is optional (RFC 3161 2.4.1); jsign sends none.",
    needs="bare",
)
def no_nonce(evidence: Evidence) -> Iterator[str | At]:
    """Judge the request with neither nonce nor certReq."""
    yield from _not_granted(evidence, ["bare"])


@check(
    "nonces",
    area=Area.REQUESTS,
    rules="S16",
    severity=Severity.ERROR,
    title="Nonces up to 64 bits are granted",
    meaning="Clients send random nonces of 64 bits, which may be short by chance.",
    needs=" ".join(_SMALL_NONCES),
)
def nonces(evidence: Evidence) -> Iterator[str | At]:
    """Judge the nonces of usual length."""
    yield from _not_granted(evidence, _SMALL_NONCES)


@check(
    "long-nonces",
    area=Area.REQUESTS,
    rules="S16",
    severity=Severity.WARNING,
    title="Nonces up to 64 octets are granted",
    meaning="NuGet and tsp-client send nonces of 256 bits.",
    needs=" ".join(_LARGE_NONCES),
)
def long_nonces(evidence: Evidence) -> Iterator[str | At]:
    """Judge the long nonces."""
    yield from _not_granted(evidence, _LARGE_NONCES)


@check(
    "negative-nonce",
    area=Area.REQUESTS,
    rules="S16",
    severity=Severity.WARNING,
    title="A negative nonce is granted",
    meaning="An INTEGER may be negative; half of the nonces of DSS are.",
    needs="nonce-negative",
)
def negative_nonce(evidence: Evidence) -> Iterator[str | At]:
    """Judge the negative nonce."""
    yield from _not_granted(evidence, ["nonce-negative"])


@check(
    "sha-2",
    area=Area.REQUESTS,
    rules="S5",
    severity=Severity.WARNING,
    title="SHA-384 and SHA-512 are granted",
    meaning="Signatures with P-384, P-521 and Ed25519 keys are stamped with these.",
    needs=" ".join(h.name for h in STRONG_HASHES),
)
def sha_2(evidence: Evidence) -> Iterator[str | At]:
    """Judge the longer hashes of SHA-2."""
    yield from _not_granted(evidence, [h.name for h in STRONG_HASHES])


@check(
    "sha-3",
    area=Area.REQUESTS,
    rules="S5",
    severity=Severity.NOTE,
    title="SHA-3 is granted",
    meaning="Few clients ask for it today.",
    needs=" ".join(h.name for h in SHA3_HASHES),
)
def sha_3(evidence: Evidence) -> Iterator[str | At]:
    """Judge the hashes of SHA-3."""
    yield from _not_granted(evidence, [h.name for h in SHA3_HASHES])


@check(
    "absent-parameters",
    area=Area.REQUESTS,
    rules="S11",
    severity=Severity.ERROR,
    title="A hash identifier without parameters is granted, as one with NULL is",
    meaning="RFC 5754 2: both must be accepted; rfc3161ng sends none.",
    needs="absent-parameters",
)
def absent_parameters(evidence: Evidence) -> Iterator[str | At]:
    """Judge the request whose hash has no parameters."""
    yield from _not_granted(evidence, ["absent-parameters"])


@check(
    "any-digest",
    area=Area.REQUESTS,
    rules="S6",
    severity=Severity.ERROR,
    title="The digest itself is not judged",
    meaning="RFC 3161 2.1: the authority must not examine the imprint beyond its length.",
    needs=" ".join(name for name, _, _ in IMPRINTS),
)
def any_digest(evidence: Evidence) -> Iterator[str | At]:
    """Judge digests that look unusual."""
    yield from _not_granted(evidence, [name for name, _, _ in IMPRINTS])


@check(
    "false-written",
    area=Area.REQUESTS,
    rules="S13",
    severity=Severity.WARNING,
    title="certReq FALSE may be written out",
    meaning="DER leaves it out, but toolkits write it, and it can mean nothing else.",
    needs="false-written",
)
def false_written(evidence: Evidence) -> Iterator[str | At]:
    """Judge the request that says FALSE."""
    yield from _not_granted(evidence, ["false-written"])


@check(
    "own-policy",
    area=Area.REQUESTS,
    rules="S14",
    severity=Severity.ERROR,
    title="A policy that is asked for is the token's",
    meaning="RFC 3161 2.4.2: the policy asked for, or unacceptedPolicy.",
    needs="plain own-policy",
)
def own_policy(evidence: Evidence) -> Iterator[str | At]:
    """Judge the request for the policy that the first token stated."""
    wanted = evidence.stamp("plain").info.policy
    if "own-policy" not in evidence.exchanges:
        raise Unseen("the request for it was not sent")
    yield from _not_granted(evidence, ["own-policy"])
    if evidence.exchange("own-policy").is_granted:
        found = evidence.stamp("own-policy").info.policy
        if found != wanted:
            yield f"{wanted} was asked for, the token has {found}"


@check(
    "exactly-granted",
    area=Area.REQUESTS,
    rules="S14",
    severity=Severity.WARNING,
    title="Tokens come with the status granted, never grantedWithMods",
    meaning="Several clients take grantedWithMods for a refusal.",
)
def exactly_granted(evidence: Evidence) -> Iterator[str | At]:
    """Judge the status of every token."""
    for stamp in evidence.tokens():
        status = stamp.reply.status
        if status is not None and status.status == 1:
            yield At(stamp.name, f"{status.name}")


@check(
    "huge-nonce",
    area=Area.REQUESTS,
    rules="S16",
    severity=Severity.NOTE,
    title="A nonce over 64 octets is refused, or returned whole",
    meaning="Whatever length an authority sets, it says so.",
    needs="nonce-65",
)
def huge_nonce(evidence: Evidence) -> Iterator[str | At]:
    """Judge a nonce that no client sends."""
    exchange, answer = evidence.answered("nonce-65")
    if exchange.reply is None:
        yield answer.explanation()
    elif exchange.is_granted and evidence.stamp("nonce-65").info.nonce != exchange.case.nonce:
        yield "another nonce came back"
