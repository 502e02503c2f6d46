"""A probe is a gentle guest: it counts, waits, obeys Retry-After, and goes when nobody answers."""

from __future__ import annotations

import threading
from datetime import timedelta
from itertools import pairwise

import pytest

from tests.probe.faulty_authority import CHAIN, FaultyAuthority, HttpAnswer, HttpRequest, serving
from tsa_core.client import ClientSettingError, TransportError
from tsa_core.probe import Outcome, probe
from tsa_core.probe.cases import all_cases
from tsa_core.probe.pacing import MAX_REQUESTS


def test_there_are_fewer_requests_than_are_allowed() -> None:
    cases = all_cases()
    assert len(cases) <= 60 < MAX_REQUESTS
    assert len({case.name for case in cases}) == len(cases)
    assert cases[0].name == "plain"
    assert cases[0].nonce != all_cases()[0].nonce, "a new nonce each time"


@pytest.mark.parametrize("most", [1, 5])
def test_no_more_requests_than_allowed(most: int) -> None:
    authority = FaultyAuthority()
    with serving(authority) as url:
        report = probe(url, rate=1000, max_requests=most)
    assert len(authority.received) == report.requests == most
    assert f"{most} requests were sent" in report.stopped
    assert report.grade.letter == "A", "what was not seen is not good"
    unseen = {each.check.id: each.text for each in report.results if each.outcome is Outcome.UNSEEN}
    assert unseen["keep-alive"] == "the request for it was not sent"


def test_requests_are_spaced_evenly() -> None:
    with serving(FaultyAuthority()) as url:
        report = probe(url, rate=10, max_requests=6)
    sent = [each.sent for each in report.evidence.exchanges.values()]
    assert all(after - before >= timedelta(seconds=0.09) for before, after in pairwise(sent))


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_waited_for(status: int) -> None:
    authority = FaultyAuthority()
    busy = iter([False, True])

    def change(request: HttpRequest, answer: HttpAnswer) -> None:
        if next(busy, False):
            answer.status, answer.body, answer.headers = status, b"later", {"Retry-After": "1"}

    authority.http = change
    with serving(authority) as url:
        report = probe(url, rate=1000, checks=["no-nonce", "nonce-unasked", "server-errors"], max_requests=4)
    first, second = list(report.evidence.exchanges.values())[:2]
    assert second.sent - first.sent >= timedelta(seconds=1)
    assert second.is_granted
    assert report.failed() == ()
    assert len(authority.received) == 4


def test_a_server_that_stays_busy_is_left_alone() -> None:
    authority = FaultyAuthority()

    def change(request: HttpRequest, answer: HttpAnswer) -> None:
        if len(authority.received) > 1:
            answer.status, answer.body, answer.headers = 429, b"later", {"Retry-After": "3600"}

    authority.http = change
    with serving(authority) as url:
        report = probe(url, rate=1000)
    assert len(authority.received) == 2
    assert "come back in 3600 seconds" in report.stopped


def test_the_deadline_is_over_everything() -> None:
    authority = FaultyAuthority()
    over = threading.Event()

    def change(request: HttpRequest, answer: HttpAnswer) -> None:
        if len(authority.received) > 2:
            over.wait(30)

    authority.http = change
    try:
        with serving(authority) as url:
            report = probe(url, rate=1000, timeout=20, deadline=1.0)
            over.set()
    finally:
        over.set()
    assert report.finished - report.started < timedelta(seconds=15)
    assert report.stopped == "the time of 1 seconds was over"


def test_a_server_that_falls_silent_gets_three_requests_more() -> None:
    authority = FaultyAuthority()

    def change(request: HttpRequest, answer: HttpAnswer) -> None:
        if len(authority.received) > 4:
            answer.status = 0

    authority.http = change
    with serving(authority) as url:
        report = probe(url, rate=1000)
    assert len(authority.received) == 7
    assert "3 requests in a row brought no answer" in report.stopped


def test_no_redirect_is_followed() -> None:
    elsewhere, authority = FaultyAuthority(), FaultyAuthority()
    with serving(elsewhere) as target, serving(authority) as url:

        def change(request: HttpRequest, answer: HttpAnswer) -> None:
            answer.status, answer.body, answer.headers = 307, b"", {"Location": target}

        authority.http = change
        report = probe(url, rate=1000, headers={"Authorization": "Bearer abc"})
    assert elsewhere.received == []
    assert {each.check.id for each in report.failed()} >= {"redirect", "granted"}


def test_a_server_that_closes_each_connection_is_judged_as_well() -> None:
    authority = FaultyAuthority()

    def change(request: HttpRequest, answer: HttpAnswer) -> None:
        answer.close = True

    authority.http = change
    with serving(authority) as url:
        report = probe(url, rate=1000, trust=CHAIN.pem, clock_bound=0.5)
    assert [each.check.id for each in report.failed()] == ["keep-alive"]
    assert report.grade.letter == "A+"


def test_credentials_of_the_url_are_sent_and_not_shown() -> None:
    authority = FaultyAuthority()
    with serving(authority) as url:
        report = probe(url.replace("//", "//alice:secret@"), rate=1000, checks=["http-1-0"])
    assert {each.headers["authorization"] for each in authority.received} == {"Basic YWxpY2U6c2VjcmV0"}
    assert len(authority.received) == 2
    assert "secret" not in str(report.document()) + repr(report)


def test_the_progress_is_told_before_each_request() -> None:
    told: list[tuple[int, int, str]] = []
    authority = FaultyAuthority()
    with serving(authority) as url:
        probe(url, rate=1000, checks=["sha-2"], progress=lambda *now: told.append(now))
    assert told == [(1, 3, "SHA-256 with a nonce and certReq"), (2, 3, "SHA384"), (3, 3, "SHA512")]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"max_requests": 0}, "from 1 to 100"),
        ({"max_requests": 101}, "from 1 to 100"),
        ({"rate": 0}, "above 0"),
        ({"rate": 1001}, "up to 1000"),
        ({"clock_bound": -1}, "clock_bound"),
        ({"deadline": 0}, "positive"),
        ({"checks": ["no-such-check"]}, "no-such-check"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_sent(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        probe("http://127.0.0.1:9", **arguments)  # type: ignore[arg-type]  # the point of the test


def test_what_cannot_be_reached_or_used_is_an_error() -> None:
    with pytest.raises(TransportError, match="refused"):
        probe("http://127.0.0.1:9/tsa")
    with pytest.raises(TransportError, match="not an http or https URL"):
        probe("gopher://127.0.0.1")
    with pytest.raises(ClientSettingError, match="plain http"):
        probe("http://192.0.2.1/", headers={"Authorization": "Bearer abc"})
