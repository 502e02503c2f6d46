"""Which clients a report says fail, and why; the keys of each are compared with docs/verify/clients.md elsewhere."""

from __future__ import annotations

import pytest

from tests.probe.faults import faulty
from tests.probe.faulty_authority import CHAIN, FaultyAuthority, make_signer, serving
from tsa_core.probe import ClientVerdict, Reception, probe
from tsa_core.probe.cases import all_cases
from tsa_core.probe.clients import CLIENTS
from tsa_core.protocol.tstinfo import encode_gen_time
from tsa_core.testing.forged_pki import issue, make_key, signer_extensions

NEEDED = ["granted", "no-nonce", "negative-nonce", "long-nonces", "absent-parameters", "http-1-0"]
"""Checks with the requests that verdicts on clients look at."""
WITHOUT_FAULT = {"rfc3161ng", "NuGet"}
"""They verify RSA alone, and the key here is of P-256."""


def verdicts(authority: FaultyAuthority, trust: bytes | None = CHAIN.pem) -> dict[str, ClientVerdict]:
    with serving(authority) as url:
        report = probe(url, rate=1000, trust=trust, checks=NEEDED)
    return {each.client: each for each in report.clients}


def failing(found: dict[str, ClientVerdict]) -> set[str]:
    return {name for name, each in found.items() if each.reception is Reception.FAILS} - WITHOUT_FAULT


def test_a_good_authority_works_with_all_that_know_its_key() -> None:
    found = verdicts(FaultyAuthority())
    assert set(found) == {each.name for each in CLIENTS}
    assert failing(found) == set()
    assert {each.reception for name, each in found.items() if name not in WITHOUT_FAULT} == {Reception.WORKS}


@pytest.mark.parametrize(
    ("fault", "clients", "reason"),
    [
        ("no_http_1_0", {"osslsigncode"}, "HTTP/1.0"),
        ("created", {"osslsigncode", "tspclient-go (notation)"}, "not 201"),
        ("chunked_replies", {"osslsigncode"}, "chunked"),
        ("octet_stream", {"osslsigncode", "pyHanko", "tspclient-go (notation)", "jarsigner"}, "Content-Type"),
        ("parameter_of_the_type", {"osslsigncode", "pyHanko", "tspclient-go (notation)", "jarsigner"}, "parameter"),
        ("upper_case_type", {"pyHanko", "tspclient-go (notation)"}, "letter by letter"),
        ("wants_a_nonce", {"Jsign"}, "no nonce"),
        ("wants_positive_nonces", {"DSS (European Commission)"}, "negative nonces"),
        ("certificates_out_of_order", {"rfc3161-client", "sigstore-python"}, "DER order"),
        ("leaf_alone", {"openssl ts", "osslsigncode"}, "root alone"),
    ],
)
def test_a_fault_fails_the_clients_that_mind_it(fault: str, clients: set[str], reason: str) -> None:
    found = verdicts(faulty(fault))
    assert failing(found) == clients
    assert all(any(reason in text for text in found[client].reasons) for client in clients)


@pytest.mark.parametrize(("fault", "client"), [("wants_short_nonces", "NuGet"), ("wants_null", "rfc3161ng")])
def test_clients_of_rsa(fault: str, client: str) -> None:
    authority = FaultyAuthority()
    authority.signer = make_signer("rsa3072")
    assert verdicts(authority)[client].reception is Reception.WORKS
    assert verdicts(faulty(fault, authority=authority))[client].reception is Reception.FAILS


@pytest.mark.parametrize("fault", ["broken_signature", "no_nonce", "certificate_ended"])
def test_no_client_is_said_to_work_with_tokens_that_fail_a_critical_check(fault: str) -> None:
    """Whether the caller asks for that check or not."""
    found = verdicts(faulty(fault))
    assert failing(found) == set()
    others = [each for name, each in found.items() if name not in WITHOUT_FAULT]
    assert {each.reception for each in others} == {Reception.UNKNOWN}
    assert all(each.reasons[0] == "nobody has tried it where a critical check fails" for each in others)


def test_a_tenth_of_a_second_fails_sigstore_js() -> None:
    authority = FaultyAuthority()
    authority.statement = lambda _request, fields: fields.update(
        gen_time=encode_gen_time(authority.now().replace(microsecond=100_000), fraction_digits=1)
    )
    assert failing(verdicts(authority)) == {"sigstore-js", "sigstore-js, of 2024"}


def test_whether_a_ca_is_missing_is_not_known_without_the_root() -> None:
    authority = FaultyAuthority()
    authority.certificates = [authority.signer.der]
    found = verdicts(authority, trust=None)
    assert found["openssl ts"].reception is Reception.UNKNOWN
    assert "trusts the root" in found["openssl ts"].reasons[0]


def test_a_signer_below_the_root_needs_no_ca_between() -> None:
    authority = FaultyAuthority()
    authority.signer = issue("Direct", issuer=CHAIN.root, key=make_key(), extensions=signer_extensions())
    authority.certificates = [authority.signer.der]
    assert failing(verdicts(authority)) == set()


def test_the_requests_of_the_verdicts_are_asked_for() -> None:
    assert {"bare", "nonce-negative", "nonce-33", "absent-parameters", "http10"} <= {case.name for case in all_cases()}
