"""Fetching the CRLs that a verified path points to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tsa_core.cli import timestamp as timestamp_cli
from tsa_core.client import fetch_crls
from tsa_core.client.revocation import crl_urls
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Issued, issue, make_chain, signer_extensions
from tsa_core.testing.forged_revocation import crl as forged_crl
from tsa_core.testing.http_tsa import Answer, HttpTsa
from tsa_core.verify import CertificateRevoked, RevocationUnknown, TrustStore, Verifier

CHAIN = make_chain()
NOW = datetime.now(UTC)
TRUST = TrustStore.from_chain(CHAIN.pem)


def crl(*revoked: Issued) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(CHAIN.intermediate.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + timedelta(days=1))
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(forge.GEN_TIME).build())
    return builder.sign(CHAIN.intermediate.key, hashes.SHA256()).public_bytes(Encoding.DER)


def pointing_to(*urls: str) -> Issued:
    names = [x509.UniformResourceIdentifier(url) for url in urls]
    points = x509.CRLDistributionPoints([x509.DistributionPoint(names, None, None, None)])
    return issue("Pointed", issuer=CHAIN.intermediate, extensions=(*signer_extensions(), (points, False)))


def stamped(signer: Issued) -> bytes:
    return forge.reply(forge.token(signer, certificates=[signer.der]))


@pytest.fixture
def server() -> Iterator[HttpTsa]:
    with HttpTsa(lambda _: Answer(body=crl())) as server:
        yield server


def test_only_web_addresses_and_each_once() -> None:
    signer = pointing_to("ldap://x/y", "http://a/1", "file:///etc/passwd", "http://a/1", "https://b/2")
    assert crl_urls([signer.certificate, CHAIN.intermediate.certificate]) == ("http://a/1", "https://b/2")


def test_fetched_crls_decide(server: HttpTsa) -> None:
    signer = pointing_to(server.url)
    path = Verifier(TRUST).verify_response(stamped(signer), artifact=b"hello").path
    revocation, failures = fetch_crls(path)
    assert failures == ()
    assert Verifier(TRUST, revocation=revocation).verify_response(stamped(signer), artifact=b"hello").status == 0
    server.answer = lambda _: Answer(body=crl(signer))
    revocation, _ = fetch_crls(path)
    with pytest.raises(CertificateRevoked):
        Verifier(TRUST, revocation=revocation).verify_response(stamped(signer), artifact=b"hello")


def test_what_cannot_be_fetched_leaves_the_signer_unknown(server: HttpTsa) -> None:
    server.answer = lambda _: Answer(status=404)
    signer = pointing_to(server.url, "http://127.0.0.1:1/")
    revocation, failures = fetch_crls([signer.certificate])
    assert len(failures) == 2
    with pytest.raises(RevocationUnknown):
        Verifier(TRUST, revocation=revocation).verify_response(stamped(signer), artifact=b"hello")
    server.answer = lambda _: Answer(body=b"no CRL")
    _, (failure,) = fetch_crls([pointing_to(server.url).certificate])
    assert "cannot be read" in str(failure)


def test_a_replayed_crl_is_stale(server: HttpTsa) -> None:
    signer = pointing_to(server.url)
    old = NOW - timedelta(days=500)
    server.answer = lambda _: Answer(body=forged_crl(CHAIN.intermediate, this_update=old))
    revocation, _ = fetch_crls([signer.certificate])
    with pytest.raises(RevocationUnknown, match=f"{server.url} is stale"):
        Verifier(TRUST, revocation=revocation).verify_response(stamped(signer), artifact=b"hello")


def test_from_the_command_line(
    server: HttpTsa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    signer = pointing_to(server.url)
    Path("r.tsr").write_bytes(stamped(signer))
    Path("a.txt").write_bytes(b"hello")
    Path("chain.pem").write_bytes(CHAIN.pem)
    arguments = ["verify", "--artifact", "a.txt", "--timestamp", "r.tsr", "--certificate-chain", "chain.pem"]
    assert timestamp_cli.run(arguments) == 0
    assert server.received == []
    assert timestamp_cli.run([*arguments, "--fetch-crls"]) == 0
    assert len(server.received) == 1
    server.answer = lambda _: Answer(body=crl(signer))
    capsys.readouterr()
    assert timestamp_cli.run([*arguments, "--fetch-crls"]) == 1
    assert "was revoked" in capsys.readouterr().err
    assert timestamp_cli.run([*arguments, "--fetch-crls", "--crl", "x"]) == 2
