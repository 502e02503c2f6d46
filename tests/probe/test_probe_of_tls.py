"""What a probe sees of TLS."""

from __future__ import annotations

import ssl
import warnings
from pathlib import Path

import pytest

from tests.probe.faulty_authority import FaultyAuthority, serving
from tests.tls_material import TlsMaterial
from tsa_core.client.errors import ServerNotTrusted
from tsa_core.probe import Outcome, Report, probe

CHECKS = ["old-tls", "tls-lifetime", "keep-alive"]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> TlsMaterial:
    return TlsMaterial(tmp_path_factory.mktemp("tls"))


def judged(material: TlsMaterial, *, days: float = 60, old: bool = False) -> tuple[Report, dict[str, Outcome]]:
    certificate, key = material.write(f"server-{days:g}", days=days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if old:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
    with serving(FaultyAuthority(), context) as url:
        report = probe(url, rate=1000, ca=material.ca, checks=CHECKS)
    return report, {each.check.id: each.outcome for each in report.results}


def test_a_good_server(material: TlsMaterial) -> None:
    report, outcomes = judged(material)
    assert set(outcomes.values()) == {Outcome.HOLDS}, report.results
    assert report.facts["TLS"].startswith("TLSv1.3, ")
    assert report.requests == 3


def test_a_certificate_that_ends_soon(material: TlsMaterial) -> None:
    report, outcomes = judged(material, days=5)
    assert outcomes["tls-lifetime"] is Outcome.FAILS
    assert "it ends in 4 days" in report.failed()[0].text


def test_a_server_of_old_tls(material: TlsMaterial) -> None:
    report, outcomes = judged(material, old=True)
    assert outcomes["old-tls"] is Outcome.FAILS
    assert report.failed()[0].text in {"the server agrees to TLSv1.1", "the server agrees to TLSv1"}


def test_a_server_that_is_not_trusted_is_not_judged(material: TlsMaterial, tmp_path: Path) -> None:
    other = TlsMaterial(tmp_path, name="Other CA")
    certificate, key = material.write("untrusted")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    authority = FaultyAuthority()
    with serving(authority, context) as url, pytest.raises(ServerNotTrusted, match="unknown here"):
        probe(url, ca=other.ca, headers={"Authorization": "Bearer abc"})
    assert authority.received == []


def test_a_proxy_is_asked_and_not_judged(material: TlsMaterial, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy here is an authority that takes every address: what a probe sees is then the proxy's HTTP."""
    with serving(FaultyAuthority()) as url:
        monkeypatch.setenv("http_proxy", url.removesuffix("/tsa"))
        monkeypatch.setenv("no_proxy", "")
        report = probe("http://tsa.invalid/tsa", rate=1000, checks=["granted", "keep-alive"])
    results = {each.check.id: each for each in report.results}
    assert results["granted"].outcome is Outcome.HOLDS
    assert results["keep-alive"].outcome is Outcome.UNSEEN
    assert "proxy" in results["keep-alive"].text
