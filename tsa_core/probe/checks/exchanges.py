"""HTTP: what RFC 3161 3.4 and the clients of a timestamp authority ask of it (rule S28)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from tsa_core.client.transport import REPLY_TYPE
from tsa_core.probe.check import Area, At, Severity, check
from tsa_core.probe.evidence import DoesNotApply, Evidence, Exchange, Unseen
from tsa_core.probe.pacing import is_busy

_OTHER_METHODS: Final = ("get", "head", "put")
_TLS_DAYS: Final = 14
_DELIBERATE: Final = frozenset({501, 505})
"""A method, a transfer coding or a version of HTTP that a server says it does not have; other checks judge that."""


def _replies(evidence: Evidence) -> list[Exchange]:
    found = [each for each in evidence.exchanges.values() if each.answer is not None and each.reply is not None]
    if not found:
        raise Unseen("no TimeStampResp came")
    return found


@check(
    "redirect",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.ERROR,
    title="A request is answered where it was sent",
    meaning="Most clients do not send a POST again elsewhere; give them the address that answers.",
)
def redirect(evidence: Evidence) -> Iterator[str | At]:
    """Judge the first request."""
    _, answer = evidence.answered("plain")
    if 300 <= answer.status < 400:
        yield f"HTTP status {answer.status} to {answer.headers.get('Location', 'nowhere')!r}"


@check(
    "status-granted",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.ERROR,
    title="A granted reply comes with HTTP status 200",
    meaning="osslsigncode, c2pa-rs and notation take no other status, 201 for example.",
)
def status_granted(evidence: Evidence) -> Iterator[str | At]:
    """Judge every token."""
    for stamp in evidence.tokens():
        answer = stamp.exchange.answer
        if answer is not None and answer.status != 200:
            yield At(stamp.name, f"HTTP status {answer.status}")


@check(
    "status-refused",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.WARNING,
    title="A refusal comes with HTTP status 200",
    meaning="Clients read no body of an HTTP error, so that their users never see why they were refused.",
    needs="version-2 foreign-policy text",
)
def status_refused(evidence: Evidence) -> Iterator[str | At]:
    """Judge every refusal that is a TimeStampResp."""
    refusals = evidence.refusals()
    if not refusals:
        raise Unseen("no refusal came as a TimeStampResp")
    for each in refusals:
        if each.answer is not None and each.answer.status != 200:
            yield At(each.case.title, f"HTTP status {each.answer.status}")


@check(
    "media-type",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.ERROR,
    title="Replies are application/timestamp-reply",
    meaning="Clients that look at the type refuse the reply.",
)
def media_type(evidence: Evidence) -> Iterator[str | At]:
    """Judge every reply."""
    for each in _replies(evidence):
        if each.answer is not None and each.answer.media_type != REPLY_TYPE:
            yield At(each.case.title, f"{each.answer.headers.get('Content-Type', 'no Content-Type')!r}")


@check(
    "media-type-exact",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.WARNING,
    title="The type is written in lower case and without a parameter",
    meaning="jarsigner, osslsigncode, pyHanko, c2pa and notation compare the text.",
)
def media_type_exact(evidence: Evidence) -> Iterator[str | At]:
    """Judge every reply of the right type."""
    for each in _replies(evidence):
        if each.answer is not None and each.answer.media_type == REPLY_TYPE:
            written = each.answer.headers.get("Content-Type", "")
            if written != REPLY_TYPE:
                yield At(each.case.title, f"{written!r}")


@check(
    "content-length",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.WARNING,
    title="Replies have a Content-Length and are not chunked",
    meaning="osslsigncode cannot read a chunked reply.",
)
def content_length(evidence: Evidence) -> Iterator[str | At]:
    """Judge every reply."""
    for each in _replies(evidence):
        if each.answer is None:
            continue
        if "Transfer-Encoding" in each.answer.headers:
            yield At(each.case.title, f"Transfer-Encoding {each.answer.headers['Transfer-Encoding']!r}")
        elif "Content-Length" not in each.answer.headers:
            yield At(each.case.title, "no Content-Length")


@check(
    "server-errors",
    area=Area.HTTP,
    rules="S28 S29",
    severity=Severity.ERROR,
    title="No request ends in an HTTP server error or a broken connection",
    meaning="A request that a server did not foresee reached its inside; the sender learns nothing.",
    needs="version-2 text empty truncated trailing indefinite long-length get put wrong-type no-type",
)
def server_errors(evidence: Evidence) -> Iterator[str | At]:
    """Judge every exchange."""
    for each in evidence.exchanges.values():
        answer = each.answer
        if answer is not None and answer.status >= 500 and answer.status not in _DELIBERATE and not is_busy(answer):
            yield At(each.case.title, f"HTTP status {answer.status}")
        elif each.answer is None and not each.case.raw and each.case.name not in {"big", "chunked"}:
            yield At(each.case.title, f"{each.problem}")


@check(
    "other-methods",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.NOTE,
    title="GET, HEAD and PUT are refused with 405 and Allow",
    meaning="Whoever opens the address in a browser, or mistakes the method, learns what to do.",
    needs="get head put",
)
def other_methods(evidence: Evidence) -> Iterator[str | At]:
    """Judge the methods that are no POST."""
    for name in _OTHER_METHODS:
        exchange, answer = evidence.answered(name)
        if answer.status != 405:
            yield At(exchange.case.title, f"HTTP status {answer.status}")
        elif "POST" not in answer.headers.get("Allow", ""):
            yield At(exchange.case.title, "405 without POST in Allow")


@check(
    "wrong-type",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.NOTE,
    title="A request of another Content-Type, or of none, is refused with 415",
    meaning="A web form of a stranger's page can otherwise make a browser ask for timestamps.",
    needs="wrong-type no-type",
)
def wrong_type(evidence: Evidence) -> Iterator[str | At]:
    """Judge the two requests without the right type."""
    for name in ("wrong-type", "no-type"):
        exchange, answer = evidence.answered(name)
        if answer.status != 415:
            yield At(exchange.case.title, f"HTTP status {answer.status}{', granted' if exchange.is_granted else ''}")


@check(
    "request-type",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.WARNING,
    title="The request's type is read in any case and with a parameter",
    meaning="RFC 9110 8.3.1: media types are compared without case; some HTTP libraries add a charset.",
    needs="type-parameter",
)
def request_type(evidence: Evidence) -> Iterator[str | At]:
    """Judge the request whose type is written unusually."""
    exchange, answer = evidence.answered("type-parameter")
    if not exchange.is_granted:
        yield f"HTTP status {answer.status} without a token"


@check(
    "http-1-0",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.WARNING,
    title="HTTP/1.0 is served",
    meaning="osslsigncode asks with HTTP/1.0, and reads no chunks.",
    needs="http10",
)
def http_1_0(evidence: Evidence) -> Iterator[str | At]:
    """Judge the request of HTTP/1.0."""
    exchange = evidence.exchange("http10")
    if exchange.answer is None:
        yield exchange.problem
    elif not exchange.is_granted:
        yield f"HTTP status {exchange.answer.status} without a token"
    elif "Transfer-Encoding" in exchange.answer.headers:
        yield "the reply is chunked, which HTTP/1.0 does not know"


@check(
    "keep-alive",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.NOTE,
    title="A connection serves more than one request",
    meaning="Each timestamp costs a new connection, over https a new handshake.",
    needs="kept-1 kept-2",
)
def keep_alive(evidence: Evidence) -> Iterator[str | At]:
    """Judge the two requests on one connection."""
    first, _ = evidence.answered("kept-1")
    if first.kept is False:
        yield "the server closes the connection after one reply"
    elif not evidence.exchange("kept-2").is_granted:
        yield f"the second request was not granted: {evidence.exchange('kept-2').problem or 'another answer'}"


@check(
    "chunked-request",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.NOTE,
    title="A request in chunks is served, or refused with 411",
    meaning="Clients that stream their body fail without an explanation.",
    needs="chunked",
)
def chunked_request(evidence: Evidence) -> Iterator[str | At]:
    """Judge the request in chunks."""
    exchange = evidence.exchange("chunked")
    if exchange.answer is None:
        yield exchange.problem
    elif not exchange.is_granted and exchange.answer.status != 411:
        yield f"HTTP status {exchange.answer.status}{', refused' if exchange.reply is not None else ''}"


@check(
    "big-body",
    area=Area.HTTP,
    rules="S28 S29",
    severity=Severity.WARNING,
    title="A body of 256 KiB is refused cleanly",
    meaning="A server that reads or parses what is far too large can be kept busy by anybody.",
    needs="big",
)
def big_body(evidence: Evidence) -> Iterator[str | At]:
    """Judge the answer to what is no request at all: 413, another 4xx, or a TimeStampResp that refuses."""
    exchange = evidence.exchange("big")
    if exchange.answer is None:
        yield exchange.problem
    elif exchange.is_granted:
        yield "it was granted"
    elif exchange.reply is None and not 400 <= exchange.answer.status < 500:
        yield f"HTTP status {exchange.answer.status}"


@check(
    "old-tls",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.WARNING,
    title="TLS before 1.2 is refused",
    meaning="RFC 8996: TLS 1.0 and 1.1 must not be used.",
    needs="kept-1",
)
def old_tls(evidence: Evidence) -> Iterator[str | At]:
    """Judge the handshake that offered nothing newer."""
    if not evidence.url.startswith("https:"):
        raise DoesNotApply("the address is not https")
    if evidence.tls is None or evidence.tls.old_version is None:
        raise Unseen("this machine's OpenSSL offers no TLS before 1.2, or there was a proxy")
    if evidence.tls.old_version:
        yield f"the server agrees to {evidence.tls.old_version}"


@check(
    "tls-lifetime",
    area=Area.HTTP,
    rules="S28",
    severity=Severity.WARNING,
    title=f"The TLS certificate holds for {_TLS_DAYS} days or more",
    meaning="When it ends, every client of the address fails at once.",
    needs="kept-1",
)
def tls_lifetime(evidence: Evidence) -> Iterator[str | At]:
    """Judge the certificate of the connection."""
    if not evidence.url.startswith("https:"):
        raise DoesNotApply("the address is not https")
    if evidence.tls is None or evidence.tls.not_after is None:
        raise Unseen("no handshake of our own was made")
    left = evidence.tls.not_after - evidence.started
    if left < timedelta(days=_TLS_DAYS):
        yield f"it ends in {left.days} days, on {evidence.tls.not_after:%Y-%m-%d}"
