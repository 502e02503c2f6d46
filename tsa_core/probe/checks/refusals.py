"""Refusals: what must not be granted, and whether the reply says why (RFC 3161 2.4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tsa_core.probe.check import Area, At, Severity, check
from tsa_core.probe.evidence import Evidence, Exchange, Unseen
from tsa_core.probe.reading import fields_of
from tsa_core.protocol import der
from tsa_core.protocol.reply import ReplyStatus
from tsa_core.protocol.status import PKIFailureInfo, PKIStatus

_KNOWN: Final = frozenset(map(int, PKIFailureInfo))
_NO_REQUEST: Final = ("text", "empty", "truncated", "wrong-tag")
_LENGTHS: Final = ("short-digest", "long-digest", "empty-digest")
_BER: Final = ("indefinite", "long-length")
_LOOSE: Final = (*_BER, "trailing")
_REASONS: Final = (
    "foreign-policy version-2 short-digest unknown-hash sha1 md5 extension critical-extension text version-0 "
    "empty-digest long-digest other-parameters empty truncated wrong-tag trailing"
)


def _granted(evidence: Evidence, names: Sequence[str]) -> Iterator[str | At]:
    """Yield which of these requests were granted; raises Unseen at the end when one was not answered."""
    unseen: Unseen | None = None
    for name in names:
        try:
            exchange, _ = evidence.answered(name)
        except Unseen as error:
            unseen = error
            continue
        if exchange.is_granted:
            yield At(exchange.case.title, "granted")
    if unseen is not None:
        raise unseen


def _is_known(status: ReplyStatus) -> bool:
    """Say whether there is one failInfo bit, which RFC 3161 has."""
    return len(status.failures) == 1 and status.failures[0] in _KNOWN


def _refusals(evidence: Evidence) -> list[Exchange]:
    found = evidence.refusals()
    if not found:
        raise Unseen("no refusal came as a TimeStampResp")
    return found


@check(
    "version",
    area=Area.REFUSALS,
    rules="S10",
    severity=Severity.ERROR,
    title="Versions other than 1 are refused",
    meaning="A request of a version that does not exist yet may ask for something else.",
    needs="version-2 version-0",
)
def version(evidence: Evidence) -> Iterator[str | At]:
    """Judge versions 0 and 2."""
    yield from _granted(evidence, ["version-2", "version-0"])


@check(
    "digest-length",
    area=Area.REFUSALS,
    rules="S5",
    severity=Severity.ERROR,
    title="A digest that is not of its hash's length is refused",
    meaning="RFC 3161 2.4.2: the authority checks that the length is consistent with the hash.",
    needs=" ".join(_LENGTHS),
)
def digest_length(evidence: Evidence) -> Iterator[str | At]:
    """Judge digests of 31, 33 and 0 bytes."""
    yield from _granted(evidence, _LENGTHS)


@check(
    "unknown-hash",
    area=Area.REFUSALS,
    rules="S5",
    severity=Severity.ERROR,
    title="A hash that nobody knows is refused",
    meaning="An imprint by an unknown or broken hash proves nothing.",
    needs="unknown-hash",
)
def unknown_hash(evidence: Evidence) -> Iterator[str | At]:
    """Judge an identifier that was made up."""
    yield from _granted(evidence, ["unknown-hash"])


@check(
    "other-parameters",
    area=Area.REFUSALS,
    rules="S11",
    severity=Severity.NOTE,
    title="A hash identifier with parameters other than NULL is refused",
    meaning="RFC 5754 2: they are absent or NULL. Nobody knows what a hash with others is.",
    needs="other-parameters",
)
def other_parameters(evidence: Evidence) -> Iterator[str | At]:
    """Judge SHA-256 with an INTEGER as its parameters."""
    yield from _granted(evidence, ["other-parameters"])


@check(
    "weak-hashes",
    area=Area.REFUSALS,
    rules="S5",
    severity=Severity.WARNING,
    title="SHA-1 and MD5 are refused",
    meaning="Two documents with one digest can be made, so that a token proves neither.",
    needs="sha1 md5",
)
def weak_hashes(evidence: Evidence) -> Iterator[str | At]:
    """Judge the broken hashes."""
    yield from _granted(evidence, ["sha1", "md5"])


@check(
    "extensions",
    area=Area.REFUSALS,
    rules="S9",
    severity=Severity.ERROR,
    title="An unknown request extension is refused, critical or not",
    meaning="RFC 3161 2.4.1: the authority must not issue a token when it does not know an extension.",
    needs="extension critical-extension",
)
def extensions(evidence: Evidence) -> Iterator[str | At]:
    """Judge the two requests with an extension."""
    yield from _granted(evidence, ["extension", "critical-extension"])


@check(
    "foreign-policy",
    area=Area.REFUSALS,
    rules="S14",
    severity=Severity.ERROR,
    title="A policy that the authority does not have is refused",
    meaning="RFC 3161 2.4.2: unacceptedPolicy. A token under another policy is not what was asked for.",
    needs="foreign-policy",
)
def foreign_policy(evidence: Evidence) -> Iterator[str | At]:
    """Judge a policy that was made up."""
    yield from _granted(evidence, ["foreign-policy"])


@check(
    "malformed",
    area=Area.REFUSALS,
    rules="S29",
    severity=Severity.ERROR,
    title="What is no request is not granted",
    meaning="A token for bytes that say nothing has a meaning that nobody can know.",
    needs=" ".join(_NO_REQUEST),
)
def malformed(evidence: Evidence) -> Iterator[str | At]:
    """Judge bodies that are no TimeStampReq."""
    yield from _granted(evidence, _NO_REQUEST)


@check(
    "loose-lengths",
    area=Area.REFUSALS,
    rules="S29",
    severity=Severity.NOTE,
    title="Requests in BER, or with a byte after them, are refused",
    meaning="RFC 3161 2.4.1 wants DER; two readers may see two things in one BER text.",
    needs=" ".join(_LOOSE),
)
def loose_lengths(evidence: Evidence) -> Iterator[str | At]:
    """Judge what DER does not allow, and many read all the same."""
    yield from _granted(evidence, _LOOSE)


@check(
    "refusal-form",
    area=Area.REFUSALS,
    rules="S17 S28 S29",
    severity=Severity.WARNING,
    title="Refusals are TimeStampResp",
    meaning="RFC 3161 3.4: the reply to a request is a TimeStampResp; a page for people helps no program.",
    needs=_REASONS,
)
def refusal_form(evidence: Evidence) -> Iterator[str | At]:
    """Judge the answer to every request that is to be refused."""
    for each in evidence.exchanges.values():
        if each.case.failure is None or each.is_granted or each.answer is None:
            continue
        if each.reply is None:
            yield At(each.case.title, f"{each.answer.explanation()}")
        elif each.reply.status is None:
            yield At(each.case.title, f"{each.reply.problem}")


@check(
    "token-iff-granted",
    area=Area.REFUSALS,
    rules="S17",
    severity=Severity.ERROR,
    title="A token is there exactly when the status says granted",
    meaning="RFC 3161 2.4.2. Clients that look at one of the two are deceived.",
    needs="plain version-2",
)
def token_iff_granted(evidence: Evidence) -> Iterator[str | At]:
    """Judge every reply."""
    for each in evidence.exchanges.values():
        reply = each.reply
        if reply is None or reply.status is None:
            continue
        if reply.status.granted != (reply.token is not None):
            there = "a token" if reply.token is not None else "no token"
            yield At(each.case.title, f"{reply.status.name} with {there}")
        elif reply.status.granted and reply.status.failures:
            yield At(each.case.title, f"{reply.status.name} with failInfo")


@check(
    "fail-info",
    area=Area.REFUSALS,
    rules="S18",
    severity=Severity.ERROR,
    title="Refusals have the status rejection and one failInfo bit of RFC 3161",
    meaning="Programs decide by it whether to ask again, otherwise, or never.",
    needs=_REASONS,
)
def fail_info(evidence: Evidence) -> Iterator[str | At]:
    """Judge every refusal."""
    for each in _refusals(evidence):
        status = each.reply.status if each.reply is not None else None
        if status is None:
            continue
        if status.status != PKIStatus.REJECTION:
            yield At(each.case.title, f"{status.name}")
        elif not _is_known(status):
            yield At(each.case.title, f"{', '.join(status.failure_names) or 'no failInfo'}")


@check(
    "fail-reason",
    area=Area.REFUSALS,
    rules="S5 S9 S10 S11 S14 S18 S29",
    severity=Severity.WARNING,
    title="failInfo is the one that RFC 3161 has for the reason",
    meaning="badAlg, badDataFormat, unacceptedPolicy and the others tell a client what to change.",
    needs=_REASONS,
)
def fail_reason(evidence: Evidence) -> Iterator[str | At]:
    """Judge the refusals of requests that break one rule each."""
    for each in _refusals(evidence):
        status = each.reply.status if each.reply is not None else None
        wanted = each.case.failure
        # Some read BER and go on to another complaint; the table has these as a note of their own.
        if status is None or wanted is None or each.case.name in _BER or not _is_known(status):
            continue
        if status.failures != (wanted,):
            yield At(each.case.title, f"{', '.join(status.failure_names)} instead of {wanted.text}")


@check(
    "fail-info-der",
    area=Area.REFUSALS,
    rules="S18",
    severity=Severity.WARNING,
    title="failInfo is a DER list of named bits",
    meaning="X.690 11.2.2: trailing zero bits are not written; strict readers refuse them.",
    needs="version-2 foreign-policy short-digest",
)
def fail_info_der(evidence: Evidence) -> Iterator[str | At]:
    """Judge the bytes of failInfo in every refusal."""
    for each in _refusals(evidence):
        if each.reply is None or each.reply.status is None or not each.reply.status_der:
            continue
        bits = [one for one in fields_of(each.reply.status_der) if one[0] == der.BIT_STRING]
        if bits and bits[0] != der.named_bits(*each.reply.status.failures):
            yield At(each.case.title, f"{bits[0].hex()}")


@check(
    "status-text",
    area=Area.REFUSALS,
    rules="S19",
    severity=Severity.WARNING,
    title="Refusals say in words what to change",
    meaning="statusString is all that the person behind a client can read.",
    needs=_REASONS,
)
def status_text(evidence: Evidence) -> Iterator[str | At]:
    """Judge the text of every refusal."""
    for each in _refusals(evidence):
        status = each.reply.status if each.reply is not None else None
        if status is not None and not any(text.strip() for text in status.texts):
            yield At(each.case.title, "no text")


@check(
    "status-text-form",
    area=Area.REFUSALS,
    rules="S19",
    severity=Severity.NOTE,
    title="statusString is one UTF8String",
    meaning="PKIFreeText is a list of UTF8String; many clients show its first one alone.",
    needs="version-2 foreign-policy short-digest",
)
def status_text_form(evidence: Evidence) -> Iterator[str | At]:
    """Judge the encoding of the texts."""
    for each in _refusals(evidence):
        if each.reply is None or not each.reply.status_der:
            continue
        for part in fields_of(each.reply.status_der):
            if part[0] == der.SEQUENCE and [text[0] for text in fields_of(part)] != [der.UTF8_STRING]:
                yield At(each.case.title, "not one UTF8String")
