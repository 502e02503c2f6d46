"""Raw requests to the reference server and to ours: every difference has a reason, which the documentation tells.

The reference's answers are in a file; where Go and network namespaces are, the reference is asked again.
"""

from __future__ import annotations

import pytest

from tests.interop.builds import BuildFailed, NoToolchain, not_on_this_machine
from tests.interop.raw_answers import Answer
from tests.interop.raw_request_bodies import all_groups, all_requests
from tests.interop.reference_requests import ask_reference, recorded
from tests.interop.request_differences import REASONS, RFC3161, SIGSTORE
from tests.interop.request_table import PAGE, differences, own_answers, reasons_of, unexplained, with_table
from tests.serving import served_by_granian
from tsa_core.testing import missing

pytestmark = [pytest.mark.plugin("memory"), pytest.mark.timeout(900)]  # the reference's first build

WANTED = 112


@pytest.fixture(scope="module")
def reference() -> dict[str, Answer]:
    return recorded()


@pytest.fixture(scope="module")
def own() -> dict[str, dict[str, Answer]]:
    return {rejections: own_answers(rejections) for rejections in (SIGSTORE, RFC3161)}


def test_the_reference_was_asked_every_request(reference: dict[str, Answer]) -> None:
    assert list(reference) == [request.name for request in all_requests()]
    assert len(reference) >= WANTED


@pytest.mark.parametrize("rejections", [SIGSTORE, RFC3161])
def test_every_difference_has_a_reason(
    rejections: str, reference: dict[str, Answer], own: dict[str, dict[str, Answer]]
) -> None:
    assert unexplained(reference, own[rejections], rejections) == []


def test_every_reason_is_needed(reference: dict[str, Answer], own: dict[str, dict[str, Answer]]) -> None:
    needed = {
        reason.text
        for rejections, answers in own.items()
        for name, answer in answers.items()
        for what in differences(reference[name], answer)
        for reason in reasons_of(name, rejections, what)
    }
    assert [reason.text for reason in REASONS if reason.text not in needed] == []


def test_what_the_reference_grants_is_granted(reference: dict[str, Answer], own: dict[str, dict[str, Answer]]) -> None:
    """With --rejections=sigstore; the exceptions are what RFC 3161 and HTTP forbid, and nonces beyond 64 octets."""
    refused = [name for name, answer in reference.items() if answer.is_token and not own[SIGSTORE][name].is_token]
    assert refused == [
        "post in small letters",
        "Content-Type twice",
        "DER, parameters of the hash are an empty INTEGER",
        "DER, nonce of 65 octets",
        "DER, nonce of 256 octets",
        "DER, empty extensions",
        "DER, version 0",
        "DER, version 2",
        "DER, a field too many",
        "DER, nonce after certReq",
        "one Content-Length twice",
        "Content-Length and chunked",
        "a folded header line",
        "a header line that ends with LF only",
        "JSON, nonce 10^400",
        "201: DER, one extension twice",
        "201: DER, nonce of 256 octets",
    ]


def test_over_granian_only_what_is_not_http_is_told_differently(own: dict[str, dict[str, Answer]]) -> None:
    """It serves https; its own HTTP parser refuses without a text, and hands no path over as it was written."""
    answers = own_answers(SIGSTORE, served_by_granian)
    other = [name for name, answer in answers.items() if differences(own[SIGSTORE][name], answer) - {"server"}]
    http = [request.name for request in all_groups()["Lengths and HTTP's own rules"]]
    assert [name for name in other if name not in http] == [
        "post in small letters",
        "GET of a path with %0d%0a",
        "GET of a path in UTF-8",
        "GET of a path with half an escape",
        "Content-Type twice",
    ]
    assert [name for name in other if answers[name].status // 100 == 2] == [
        "Content-Type twice",
        "one Content-Length twice",
        "Content-Length and chunked",
        "a header line that ends with LF only",
    ]


def test_the_documentation_has_these_answers(reference: dict[str, Answer], own: dict[str, dict[str, Answer]]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, reference, own[SIGSTORE], own[RFC3161]) == page, (
        "python -m tests.interop.reference_requests --table"
    )


def test_the_reference_still_answers_so(reference: dict[str, Answer]) -> None:
    try:
        answers = ask_reference()
    except NoToolchain as error:
        not_on_this_machine(str(error))
    except BuildFailed as error:
        missing(str(error))
    assert answers == reference, "the reference has changed: python -m tests.interop.reference_requests --write"
