"""Fetching OCSP responses and CRLs for a verified path: what is asked, what counts, what only fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from tsa_core.cli import timestamp as timestamp_cli
from tsa_core.client import fetch_revocation
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Extension, Issued, issue, make_chain, signer_extensions
from tsa_core.testing.http_tsa import Answer, HttpTsa
from tsa_core.verify import CertificateRevoked, RevocationStatus, TrustStore, Verifier

CHAIN = make_chain()
TRUST = TrustStore.from_chain(CHAIN.pem)
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
def server() -> Iterator[HttpTsa]:
    with HttpTsa(lambda _: Answer(status=404)) as server:
        yield server


def signer_with(*urls: str, crls: tuple[str, ...] = ()) -> Issued:
    """Return a signer whose responders and distribution points these are."""
    places = [
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url)) for url in urls
    ]
    extensions: list[Extension] = list(signer_extensions())
    if places:
        extensions.append((x509.AuthorityInformationAccess(places), False))
    if crls:
        points = [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in crls]
        extensions.append((x509.CRLDistributionPoints(points), False))
    return issue("Pointed", issuer=CHAIN.intermediate, extensions=extensions)


def responder(
    signer: Issued,
    *,
    revoked: bool = False,
    nonce: Callable[[bytes], bytes | None] = lambda sent: sent,
) -> Callable[[bytes], Answer]:
    """Return what answers OCSP requests about a signer, in the name of its issuer."""

    def answer(body: bytes) -> Answer:
        request = ocsp.load_der_ocsp_request(body)
        assert request.serial_number == signer.certificate.serial_number
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=signer.certificate,
            issuer=CHAIN.intermediate.certificate,
            algorithm=hashes.SHA1(),
            cert_status=ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD,
            this_update=NOW - DAY,
            next_update=NOW + DAY,
            revocation_time=NOW - DAY if revoked else None,
            revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
        )
        sent = request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        echoed = nonce(sent)
        if echoed is not None:
            builder = builder.add_extension(x509.OCSPNonce(echoed), False)
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, CHAIN.intermediate.certificate)
        response = builder.sign(CHAIN.intermediate.key, hashes.SHA256())
        return Answer(body=response.public_bytes(Encoding.DER))

    return answer


def crl() -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(CHAIN.intermediate.certificate.subject)
    builder = builder.last_update(NOW - DAY).next_update(NOW + DAY)
    return builder.sign(CHAIN.intermediate.key, hashes.SHA256()).public_bytes(Encoding.DER)


def path_of(signer: Issued) -> tuple[x509.Certificate, ...]:
    return (signer.certificate, CHAIN.intermediate.certificate, CHAIN.root.certificate)


def stamped(signer: Issued) -> bytes:
    return forge.reply(forge.token(signer, certificates=[signer.der]))


@pytest.mark.parametrize("nonce", [lambda sent: sent, lambda _: None], ids=["echoed", "not supported"])
def test_an_ocsp_answer_covers_the_signer(server: HttpTsa, nonce: Callable[[bytes], bytes | None]) -> None:
    signer = signer_with(server.url)
    server.answer = responder(signer, nonce=nonce)
    revocation, failures = fetch_revocation(path_of(signer), crls=False)
    assert failures == ()
    result = Verifier(TRUST, revocation=revocation).verify_response(stamped(signer), artifact=b"hello")
    assert result.revocation[0].status is RevocationStatus.GOOD
    assert result.revocation[0].evidence[0].source == server.url
    assert server.received[0].headers["Content-Type"] == "application/ocsp-request"


def test_an_ocsp_answer_revokes_the_signer(server: HttpTsa) -> None:
    signer = signer_with(server.url)
    server.answer = responder(signer, revoked=True)
    revocation, _ = fetch_revocation(path_of(signer), crls=False)
    with pytest.raises(CertificateRevoked, match=server.url):
        Verifier(TRUST, revocation=revocation).verify_response(stamped(signer), artifact=b"hello")


def test_every_request_has_a_nonce_of_its_own(server: HttpTsa) -> None:
    signer = signer_with(server.url)
    server.answer = responder(signer)
    fetch_revocation(path_of(signer), crls=False)
    fetch_revocation(path_of(signer), crls=False)
    first, second = (ocsp.load_der_ocsp_request(request.body) for request in server.received)
    assert first.extensions[0].value != second.extensions[0].value


def test_an_answer_to_another_request_does_not_count(server: HttpTsa) -> None:
    signer = signer_with(server.url)
    server.answer = responder(signer, nonce=lambda _: b"an old nonce")
    revocation, (failure,) = fetch_revocation(path_of(signer), crls=False)
    assert revocation.ocsp_responses == ()
    assert "nonce" in str(failure)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no response",
        ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER),
    ],
)
def test_what_is_no_ocsp_answer_is_a_failure(server: HttpTsa, body: bytes) -> None:
    server.answer = lambda _: Answer(body=body)
    revocation, (failure,) = fetch_revocation(path_of(signer_with(server.url)), crls=False)
    assert revocation.ocsp_responses == ()
    assert failure.url == server.url


def test_the_next_responder_is_asked_when_one_fails(server: HttpTsa) -> None:
    signer = signer_with("http://127.0.0.1:1/", "ldap://127.0.0.1/x", server.url)
    server.answer = responder(signer)
    revocation, failures = fetch_revocation(path_of(signer), crls=False)
    assert len(revocation.ocsp_responses) == 1
    assert [failure.url for failure in failures] == ["http://127.0.0.1:1/", "ldap://127.0.0.1/x"]


def test_one_bad_distribution_point_does_not_void_the_others(server: HttpTsa) -> None:
    signer = signer_with(crls=("ldap://127.0.0.1/x", f"{server.origin}/bad", f"{server.origin}/good"))
    server.answer = lambda _: Answer(body=crl() if server.received[-1].path == "/good" else b"no list")
    revocation, failures = fetch_revocation(path_of(signer), ocsp=False)
    assert len(revocation.crls) == 1
    assert "ldap" in str(failures[0])
    assert "cannot be read" in str(failures[1])
    result = Verifier(TRUST, revocation=revocation).verify_response(stamped(signer), artifact=b"hello")
    assert result.revocation_checked


def test_what_was_given_still_counts(server: HttpTsa) -> None:
    from tsa_core.verify import Revocation

    given = Revocation.from_files(crls=[("mine.crl", crl())])
    revocation, _ = fetch_revocation(path_of(signer_with(server.url)), given=given)
    result = Verifier(TRUST, revocation=revocation).verify_response(stamped(CHAIN.signer), artifact=b"hello")
    assert result.revocation[0].evidence[0].source == "mine.crl"


def test_ocsp_from_the_command_line(
    server: HttpTsa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    signer = signer_with(server.url)
    Path("r.tsr").write_bytes(stamped(signer))
    Path("a.txt").write_bytes(b"hello")
    Path("chain.pem").write_bytes(CHAIN.pem)
    arguments = ["verify", "--artifact", "a.txt", "--timestamp", "r.tsr", "--certificate-chain", "chain.pem"]
    server.answer = responder(signer)
    assert timestamp_cli.run([*arguments, "--fetch-ocsp"]) == 0
    server.answer = responder(signer, revoked=True)
    assert timestamp_cli.run([*arguments, "--fetch-ocsp"]) == 1
    assert "keyCompromise" in capsys.readouterr().err
    server.answer = lambda _: Answer(status=503)
    assert timestamp_cli.run([*arguments, "--fetch-ocsp"]) == 1
    assert server.url in capsys.readouterr().err


def test_the_signers_of_proofs_are_asked_about_too(
    server: HttpTsa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    signer, prover = signer_with(server.url), signer_with(server.url)
    about = {each.certificate.serial_number: responder(each) for each in (signer, prover)}
    server.answer = lambda body: about[ocsp.load_der_ocsp_request(body).serial_number](body)
    Path("r.tsr").write_bytes(stamped(signer))
    proof = forge.token(prover, forge.tst_info(Path("r.tsr").read_bytes()), certificates=[prover.der])
    Path("proof.tsr").write_bytes(forge.reply(proof))
    Path("a.txt").write_bytes(b"hello")
    Path("chain.pem").write_bytes(CHAIN.pem)
    arguments = ["verify", "--artifact", "a.txt", "--timestamp", "r.tsr", "--certificate-chain", "chain.pem"]
    arguments += ["--algorithms", "by-date", "--proof", "proof.tsr", "--fetch-ocsp"]
    assert timestamp_cli.run(arguments) == 0
    about[prover.certificate.serial_number] = responder(prover, revoked=True)
    assert timestamp_cli.run(arguments) == 1
    assert "keyCompromise" in capsys.readouterr().err
