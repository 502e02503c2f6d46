"""TSTInfo: what a token states (RFC 3161 2.4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from tsa_core.probe.canonical import first_fault
from tsa_core.probe.check import Area, At, Severity, check
from tsa_core.probe.evidence import DoesNotApply, Evidence, Stamp, Unseen, gen_time_text
from tsa_core.probe.reading import fields_of
from tsa_core.protocol import der
from tsa_core.protocol.tstinfo import Accuracy
from tsa_core.verify.errors import AuthorityNameMismatch
from tsa_core.verify.tsa_name import check_tsa_name

MAX_SERIAL_BITS: Final = 160
PDF_RESERVE: Final = 32
"""What PDF signers keep free beyond the size of the last token, in bytes."""
_SECOND: Final = 1_000_000


@check(
    "readable",
    area=Area.STATEMENT,
    rules="S21 S29",
    severity=Severity.CRITICAL,
    title="Every token can be read",
    meaning="Who asks gets bytes that are no TimeStampToken with a TSTInfo of version 1.",
)
def can_be_read(evidence: Evidence) -> Iterator[str | At]:
    """Judge every body that came as a reply to a request that is to be granted."""
    replies = [each for each in evidence.exchanges.values() if each.case.granted and each.reply is not None]
    if not replies:
        raise Unseen("no reply came")
    for each in replies:
        if each.reply is not None and each.reply.problem:
            yield At(each.case.title, f"{each.reply.problem}")
        elif each.reply is not None and each.reply.info is not None and each.reply.info.version != 1:
            yield At(each.case.title, f"TSTInfo of version {each.reply.info.version}")


@check(
    "imprint",
    area=Area.STATEMENT,
    rules="S15 V2",
    severity=Severity.CRITICAL,
    title="The token is about the digest that was sent",
    meaning="A token about another digest proves nothing about the document.",
)
def imprint(evidence: Evidence) -> Iterator[str | At]:
    """Judge hash and digest of every token."""
    for stamp in evidence.tokens():
        if not _is_about(stamp):
            yield At(stamp.name, "another hash or digest")


def _is_about(stamp: Stamp) -> bool:
    """Say whether a token has hash and digest of its request, as far as that is one."""
    sent = stamp.request
    return sent is None or (stamp.info.hash_oid, stamp.info.hashed_message) == (sent.hash_oid, sent.digest)


@check(
    "imprint-octets",
    area=Area.STATEMENT,
    rules="S11 S15",
    severity=Severity.WARNING,
    title="The messageImprint is repeated octet by octet",
    meaning="RFC 3161 2.4.2: the same value. Clients that compare bytes refuse NULL for absent parameters.",
    needs="plain absent-parameters",
)
def imprint_octets(evidence: Evidence) -> Iterator[str | At]:
    """Judge the encoding of the imprint in every token."""
    for stamp in evidence.tokens():
        if _is_about(stamp) and stamp.request and fields_of(stamp.token.content)[2] != stamp.request.imprint_der:
            yield At(stamp.name, "encoded otherwise than it was sent")


@check(
    "nonce",
    area=Area.STATEMENT,
    rules="S16 V2",
    severity=Severity.CRITICAL,
    title="The nonce comes back unchanged",
    meaning="A reply with another nonce may be an old one, and every client refuses it.",
    needs="plain nonce-0 nonce-9 nonce-64 nonce-negative",
)
def nonce(evidence: Evidence) -> Iterator[str | At]:
    """Judge every token that was asked for with a nonce."""
    for stamp in evidence.tokens():
        if stamp.exchange.case.nonce is not None and stamp.info.nonce != stamp.exchange.case.nonce:
            yield At(stamp.name, f"{'another nonce' if stamp.info.nonce is not None else 'no nonce'} came back")


@check(
    "nonce-unasked",
    area=Area.STATEMENT,
    rules="S16 V2",
    severity=Severity.ERROR,
    title="There is no nonce where none was sent",
    meaning="RFC 3161 2.4.2: the nonce is present when it was in the request. Strict clients refuse another one.",
    needs="bare sha384",
)
def nonce_unasked(evidence: Evidence) -> Iterator[str | At]:
    """Judge every token that was asked for without one."""
    evidence.stamp("bare")
    for stamp in evidence.tokens():
        sent = stamp.request
        if sent is not None and not sent.nonce_der and stamp.info.nonce is not None:
            yield At(stamp.name, "a nonce came that nobody sent")


@check(
    "serial-unique",
    area=Area.STATEMENT,
    rules="S2",
    severity=Severity.CRITICAL,
    title="No two tokens have one serial number",
    meaning="RFC 3161 2.4.2: unique for each token, also after a crash. Two tokens with one number are one.",
    needs="plain repeat-1 repeat-2 repeat-3",
)
def serial_unique(evidence: Evidence) -> Iterator[str | At]:
    """Judge the numbers of all tokens, those of the repeated request among them."""
    seen: dict[int, str] = {}
    stamps = evidence.tokens()
    if len(stamps) < 2:
        raise Unseen("fewer than two tokens came")
    for stamp in stamps:
        number = stamp.info.serial_number
        if number in seen:
            yield f"{stamp.name} has the number of {seen[number]}"
        seen.setdefault(number, stamp.name)


@check(
    "serial-positive",
    area=Area.STATEMENT,
    rules="S2",
    severity=Severity.ERROR,
    title="Serial numbers are positive",
    meaning="Several readers take them for unsigned numbers.",
)
def serial_positive(evidence: Evidence) -> Iterator[str | At]:
    """Judge every number."""
    for stamp in evidence.tokens():
        if stamp.info.serial_number <= 0:
            yield At(stamp.name, f"{'zero' if stamp.info.serial_number == 0 else 'negative'}")


@check(
    "serial-size",
    area=Area.STATEMENT,
    rules="S2 C12",
    severity=Severity.WARNING,
    title=f"Serial numbers have at most {MAX_SERIAL_BITS} bits",
    meaning="RFC 3161 2.4.2: users must be ready for 160 bits, and need not be for more.",
)
def serial_size(evidence: Evidence) -> Iterator[str | At]:
    """Judge every number."""
    for stamp in evidence.tokens():
        bits = stamp.info.serial_number.bit_length()
        if bits > MAX_SERIAL_BITS:
            yield At(stamp.name, f"{bits} bits")


@check(
    "size-stable",
    area=Area.STATEMENT,
    rules="C12",
    severity=Severity.WARNING,
    title=f"Tokens of one request differ by at most {PDF_RESERVE} bytes in size",
    meaning="PDF signers reserve the size of the last token and a little more; a larger one destroys the signature.",
    needs="plain repeat-1 repeat-2 repeat-3",
)
def size_stable(evidence: Evidence) -> Iterator[str | At]:
    """Judge the sizes of the repeated request's replies."""
    same = [
        s for s in evidence.tokens() if s.exchange.case.name == "plain" or s.exchange.case.name.startswith("repeat")
    ]
    if len(same) < 2:
        raise Unseen("fewer than two tokens of one request came")
    sizes = [len(stamp.reply.body) for stamp in same]
    if max(sizes) - min(sizes) > PDF_RESERVE:
        yield f"{min(sizes)} to {max(sizes)} bytes"


@check(
    "policy-stable",
    area=Area.STATEMENT,
    rules="S4",
    severity=Severity.WARNING,
    title="One policy stands in all tokens that asked for none",
    meaning="Who accepts tokens by their policy cannot know which one is next.",
    needs="plain bare",
)
def policy_stable(evidence: Evidence) -> Iterator[str | At]:
    """Judge every token but those that asked for a policy."""
    found = {
        each.info.policy
        for each in evidence.tokens()
        if each.exchange.case.name not in {"own-policy", "foreign-policy"}
    }
    if len(found) > 1:
        yield ", ".join(sorted(found))


@check(
    "gen-time-form",
    area=Area.STATEMENT,
    rules="S22",
    severity=Severity.ERROR,
    title="genTime is written as DER wants it: YYYYMMDDhhmmss[.f]Z without trailing zeros",
    meaning="RFC 3161 2.4.2; strict readers refuse .500 and a bare dot.",
)
def gen_time_form(evidence: Evidence) -> Iterator[str | At]:
    """Judge every time."""
    for stamp in evidence.tokens():
        text = gen_time_text(stamp.token.content).decode("ascii", "replace")
        _, dot, fraction = text.removesuffix("Z").partition(".")
        if dot and (not fraction or fraction.endswith("0")):
            yield At(stamp.name, f"{text}")


@check(
    "accuracy-form",
    area=Area.STATEMENT,
    rules="S24",
    severity=Severity.ERROR,
    title="Accuracy has millis and micros of 1 to 999, or leaves them out",
    meaning="RFC 3161 2.4.2: INTEGER (1..999). A zero is outside of the type.",
)
def accuracy_form(evidence: Evidence) -> Iterator[str | At]:
    """Judge the bytes of every accuracy."""
    encoded = [(stamp, part) for stamp in evidence.tokens() for part in fields_of(stamp.token.content)[5:6]]
    found = [(stamp, part) for stamp, part in encoded if part[0] == der.SEQUENCE]
    if not found:
        raise DoesNotApply("no accuracy is stated")
    for stamp, part in found:
        stated: Accuracy | None = stamp.info.accuracy
        if stated is None or part != stated.encoded:
            yield At(stamp.name, f"{part.hex()}")


@check(
    "accuracy",
    area=Area.STATEMENT,
    rules="V12 V19",
    severity=Severity.WARNING,
    title="Accuracy is stated",
    meaning="Without it nobody knows how far the time may be off; EN 319 422 demands it.",
)
def accuracy(evidence: Evidence) -> Iterator[str | At]:
    """Judge every token."""
    for stamp in evidence.tokens():
        if stamp.info.accuracy is None:
            yield At(stamp.name, "none")


@check(
    "accuracy-second",
    area=Area.STATEMENT,
    rules="V12",
    severity=Severity.NOTE,
    title="Accuracy is a second or better",
    meaning="EN 319 421 7.7.2 asks for one second.",
)
def accuracy_second(evidence: Evidence) -> Iterator[str | At]:
    """Judge every accuracy."""
    stated = [each for each in evidence.tokens() if each.info.accuracy is not None]
    if not stated:
        raise DoesNotApply("no accuracy is stated")
    for stamp in stated:
        if stamp.info.accuracy is not None and stamp.info.accuracy.microseconds > _SECOND:
            yield At(stamp.name, f"{stamp.info.accuracy.microseconds / _SECOND:g} s")


@check(
    "ordering-form",
    area=Area.STATEMENT,
    rules="S25",
    severity=Severity.WARNING,
    title="ordering FALSE is left out",
    meaning="X.690 11.5: DER leaves a default out; strict readers refuse the token.",
)
def ordering_form(evidence: Evidence) -> Iterator[str | At]:
    """Judge the bytes of every TSTInfo."""
    for stamp in evidence.tokens():
        if der.boolean(False) in fields_of(stamp.token.content):
            yield At(stamp.name, "it is written")


@check(
    "ordering",
    area=Area.STATEMENT,
    rules="S26",
    severity=Severity.ERROR,
    title="Where ordering is TRUE, each token is later than the one before",
    meaning="RFC 3161 2.4.2: tokens are then ordered by genTime alone, so that equal times are a contradiction.",
    needs="plain bare repeat-1 repeat-2",
)
def ordering(evidence: Evidence) -> Iterator[str | At]:
    """Judge the times of tokens in the order in which they were asked for."""
    ordered = [each for each in evidence.tokens() if each.info.ordering]
    if not ordered:
        raise DoesNotApply("no token says ordering TRUE")
    for before, after in pairwise(ordered):
        if after.info.gen_time <= before.info.gen_time:
            yield f"{after.name} is not later than {before.name}"


@check(
    "tsa-name",
    area=Area.STATEMENT,
    rules="S27 V16",
    severity=Severity.ERROR,
    title="The tsa field is a name of the signer's certificate",
    meaning="RFC 3161 2.4.2. Verifiers that compare it refuse the token.",
)
def tsa_name(evidence: Evidence) -> Iterator[str | At]:
    """Judge the name in every token whose signer's certificate came."""
    named = [each for each in evidence.tokens() if each.info.tsa_der]
    if not named:
        raise DoesNotApply("no token states it")
    for stamp in named:
        try:
            if (certificate := evidence.certificate_of(stamp)) is not None:
                check_tsa_name(stamp.info, certificate)
        except AuthorityNameMismatch as error:
            yield At(stamp.name, f"{error}")


@check(
    "statement-der",
    area=Area.STATEMENT,
    rules="S21",
    severity=Severity.ERROR,
    title="TSTInfo is DER",
    meaning="RFC 3161 2.4.2. Two readers of other bytes may see two things under one signature.",
)
def statement_der(evidence: Evidence) -> Iterator[str | At]:
    """Judge the content of every token."""
    for stamp in evidence.tokens():
        if fault := first_fault(stamp.token.content):
            yield At(stamp.name, f"{fault}")


@check(
    "statement-extensions",
    area=Area.STATEMENT,
    rules="V11",
    severity=Severity.ERROR,
    title="Tokens have no critical extension",
    meaning="A verifier must refuse a critical extension that it does not know, and knows none.",
)
def statement_extensions(evidence: Evidence) -> Iterator[str | At]:
    """Judge the extensions of every token."""
    for stamp in evidence.tokens():
        for each in stamp.info.extensions:
            if each.critical:
                yield At(stamp.name, f"{each.oid}")
