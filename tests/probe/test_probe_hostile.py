"""No answer of a hostile authority makes a probe raise, wait, or pass on what a terminal or a browser would obey."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.client.lying_server import Certificates, Lie, LyingServer
from tests.client.lying_servers import LIES
from tests.probe.faulty_authority import CHAIN, FaultyAuthority, HttpAnswer, HttpRequest, make_signer, serving
from tsa_core.client import Deadline, RequestTimeout
from tsa_core.client.tls import tls
from tsa_core.probe import CHECKS, Report, html_page, probe
from tsa_core.probe.bodies import request
from tsa_core.probe.canonical import MAX_VALUES, first_fault
from tsa_core.probe.clients import receptions
from tsa_core.probe.evidence import Evidence, Exchange
from tsa_core.probe.facts import facts
from tsa_core.probe.gathering import MAX_REPLY_OCTETS
from tsa_core.probe.reading import read
from tsa_core.probe.wire import Wire
from tsa_core.protocol import der
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import name

LASTING = [
    each
    for name, each in LIES.items()
    if each.proxy_for is None and each.error is RequestTimeout and "redirect" not in name
]
"""Lies that only a deadline ends, but for a redirect, which nobody follows here."""
HOSTILE = '\x1b]0;owned\x07<script>alert(1)</script>"><img src=x onerror=y>\u202e\n'


@pytest.fixture(scope="module")
def good() -> Iterator[Report]:
    with serving(FaultyAuthority()) as url:
        yield probe(url, rate=1000, trust=CHAIN.pem, clock_bound=0.5)


def changed(source: random.Random, body: bytes) -> bytes:
    """Return a body with some octets changed, left out or doubled."""
    data = bytearray(body)
    for _ in range(source.choice((1, 1, 1, 2, 8))):
        data = data or bytearray(b"\x30")
        place = source.randrange(len(data))
        kind = source.random()
        if kind < 0.7:
            data[place] = source.choice((0x00, 0x30, 0x31, 0x80, 0xA0, 0xFF, source.randrange(256)))
        elif kind < 0.85:
            del data[place : place + source.choice((1, 2, 40))]
        else:
            data[place:place] = data[place : place + source.choice((1, 20))]
    return bytes(data) or b"\x30"


def with_changes(source: random.Random, exchange: Exchange) -> Exchange:
    """Return an exchange whose reply, if it has one, is changed."""
    if exchange.answer is None or exchange.reply is None:
        return exchange
    answer = exchange.answer.replace(body=changed(source, exchange.answer.body))
    return replace(exchange, answer=answer, reply=read(answer.body))


def test_whatever_octets_come_every_check_gives_an_outcome(good: Report) -> None:
    source = random.Random(3161)
    for _ in range(40):
        exchanges = {case: with_changes(source, each) for case, each in good.evidence.exchanges.items()}
        evidence = Evidence(url=good.url, started=good.started, exchanges=exchanges, clock_bound=0.5)
        results = tuple(check.run(evidence) for check in CHECKS)
        report = replace(
            good, results=results, evidence=evidence, facts=facts(evidence), clients=receptions(evidence, results)
        )
        assert all(each.text.isprintable() for each in results)
        assert report.document()["Checks"]
        assert html_page(report).endswith("</html>\n")


class Tags(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {key for key, _ in attrs}


def test_hostile_texts_are_shown_as_text() -> None:
    authority = FaultyAuthority()
    authority.signer = make_signer(subject=name(HOSTILE.replace("\n", "")[:60]))
    authority.refusal = lambda failure, _: forge.reply(status=2, texts=[HOSTILE], failures=[failure])
    authority.dislikes = lambda request: request.nonce is None

    def change(request: HttpRequest, answer: HttpAnswer) -> None:
        if request.method == "GET":
            answer.status, answer.body = 500, HOSTILE.encode()
        if answer.headers.get("Content-Type"):
            answer.headers["Content-Type"] = "text/html; x=<script>alert(2)</script>"

    authority.http = change
    with serving(authority) as url:
        report = probe(url, rate=1000)
    page = html_page(report)
    seen = Tags()
    seen.feed(page)
    assert seen.tags.isdisjoint({"script", "img", "iframe", "link", "object", "a"})
    assert {each for each in seen.attributes if each.startswith("on")} == set()
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    texts = [*report.facts.values(), *report.grade.reasons, *(each.text for each in report.results)]
    texts += [reason for each in report.clients for reason in each.reasons]
    assert all(text.isprintable() for text in texts)
    assert any("script" in text for text in texts)


def test_a_flood_is_cut_off() -> None:
    authority = FaultyAuthority()

    def change(request: HttpRequest, answer: HttpAnswer) -> None:
        if len(authority.received) > 1:
            answer.body = b"\x30" + bytes(MAX_REPLY_OCTETS)

    authority.http = change
    with serving(authority) as url:
        report = probe(url, rate=1000, checks=["nonces", "http-1-0", "keep-alive"])
    assert "brought no answer" in report.stopped
    exchanges = [each for each in report.evidence.exchanges.values() if each.case.name != "plain"]
    assert all(f"more than {MAX_REPLY_OCTETS} bytes" in each.problem for each in exchanges)


def test_many_nested_values_and_many_certificates_end() -> None:
    authority = FaultyAuthority()
    deep = b""
    for _ in range(3000):
        deep = der.tlv(0x30, deep)
    authority.certificates = [deep, *[authority.signer.der] * 500]
    with serving(authority) as url:
        report = probe(url, rate=1000, trust=CHAIN.pem)
    assert report.grade.letter == "F"


def test_a_reply_of_very_many_values_is_not_read_to_its_end() -> None:
    assert first_fault(der.sequence(der.null() * MAX_VALUES)) == f"there are more than {MAX_VALUES} values"
    assert first_fault(der.sequence(der.null() * (MAX_VALUES - 1))) == ""
    assert first_fault(der.sequence(der.tlv(der.SET, der.null()) * MAX_VALUES)).endswith("values")


@pytest.mark.parametrize("lie", LASTING, ids=lambda lie: lie.name)
def test_a_connection_of_our_own_ends_by_its_deadline(lie: Lie, certificates: Certificates) -> None:
    """What goes through the client's transport is proven there; this is the rest."""
    with LyingServer(lie, certificates) as server, Deadline(lie.timeout) as limit:
        wire = Wire(server.url, tls(ca=certificates.ca).named, {})
        found = wire.send("1.1", request(nonce=1), limit, again=False, max_octets=MAX_REPLY_OCTETS)
        assert wire.tls() is None
        assert isinstance(found, str)
        assert re.search("no complete answer within|more than", found)
