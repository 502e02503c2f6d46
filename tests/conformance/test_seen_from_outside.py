"""The table of `timestamp-cli probe` on our own server: what shows from outside holds, on every way of serving."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests import pki
from tests.serving import Parts, Server, TestSigner, running_server
from tsa_core.probe import CHECKS, Check, Outcome, Report, probe
from tsa_core.probe.checks import UNSEEN_RULES

NOT_OURS = {"revocation-pointers"}
"""The certificates of these tests name no place for CRLs."""
CLOCK_BOUND = 1.0
"""In seconds: both clocks are this machine's, and genTime is of the second."""


def trusted(kind: str) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in pki.chain(kind))


def judged(url: str, kind: str) -> Report:
    return probe(url, rate=1000, trust=trusted(kind), clock_bound=CLOCK_BOUND)


def assert_good(report: Report) -> None:
    failed = {each.check.id: each.text for each in report.failed() if each.check.id not in NOT_OURS}
    assert failed == {}
    assert report.stopped == ""
    assert report.grade.letter == "A"


@pytest.fixture(scope="session")
def report(server: Server) -> Report:
    return judged(server.url, "p256")


@pytest.mark.parametrize("check", [each for each in CHECKS if each.id not in NOT_OURS], ids=lambda check: check.id)
def test_every_check_holds(report: Report, check: Check) -> None:
    (found,) = [each for each in report.results if each.check is check]
    assert found.outcome is not Outcome.FAILS, found.text
    if check.id not in {"revocation-answers", "not-revoked"}:
        assert found.outcome is not Outcome.UNSEEN, found.text


def test_the_report_is_good(report: Report) -> None:
    assert_good(report)


@pytest.mark.parametrize("kind", ["rsa-3072", "p384", "p521", "ed25519", "ed448", "ml-dsa-65"])
def test_other_keys_are_judged_good(kind: str) -> None:
    with running_server(Parts(signers={"p256": TestSigner(kind)})) as server:
        assert_good(judged(server.url, kind))


@pytest.mark.parametrize("engine", ["waitress", "granian"])
def test_an_ordered_profile_with_fractions_is_judged_good(engine: str) -> None:
    profiles = {"default": {"ordering": True, "fraction_digits": 6, "accuracy": "500ms"}}
    with running_server(profiles=profiles, engine=engine) as server:
        assert_good(judged(server.url, "p256"))


def test_every_rule_of_a_server_is_seen_or_said_to_be_unseen() -> None:
    seen = {rule for check in CHECKS for rule in check.rules}
    wanted = {f"S{number}" for number in range(1, 31)} | {f"C{number}" for number in range(1, 13)}
    assert wanted - seen == set(UNSEEN_RULES)
    assert not seen & set(UNSEEN_RULES)
