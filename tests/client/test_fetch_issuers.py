"""Fetching the issuers that a token's certificates point to, when the token does not bring them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import AuthorityInformationAccessOID

from tsa_core.cli import timestamp as timestamp_cli
from tsa_core.client import fetch_issuers
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Issued, issue, make_chain, signer_extensions
from tsa_core.testing.http_tsa import Answer, HttpTsa
from tsa_core.verify import PathError, TrustStore, verify_response

CHAIN = make_chain()
TRUST = TrustStore(roots=(CHAIN.root.certificate,))
INTERMEDIATE = CHAIN.intermediate.certificate


@pytest.fixture
def server() -> Iterator[HttpTsa]:
    with HttpTsa(lambda _: Answer(body=CHAIN.intermediate.der)) as server:
        yield server


def pointing_to(*urls: str) -> Issued:
    method = AuthorityInformationAccessOID.CA_ISSUERS
    places = [x509.AccessDescription(method, x509.UniformResourceIdentifier(url)) for url in urls]
    extensions = (*signer_extensions(), (x509.AuthorityInformationAccess(places), False))
    return issue("Pointed", issuer=CHAIN.intermediate, extensions=extensions)


def stamped(signer: Issued) -> bytes:
    return forge.reply(forge.token(signer, certificates=[signer.der]))


@pytest.mark.parametrize(
    "body",
    [
        CHAIN.intermediate.der,
        INTERMEDIATE.public_bytes(Encoding.PEM),
        pkcs7.serialize_certificates([CHAIN.root.certificate, INTERMEDIATE], Encoding.DER),
    ],
    ids=["DER", "PEM", "certs-only CMS"],
)
def test_a_missing_intermediate_is_fetched(server: HttpTsa, body: bytes) -> None:
    server.answer = lambda _: Answer(body=body)
    reply = stamped(pointing_to(server.url))
    with pytest.raises(PathError):
        verify_response(reply, artifact=b"hello", trust=TRUST)
    trust, failures = fetch_issuers(reply, TRUST)
    assert failures == ()
    assert trust.roots == TRUST.roots
    assert len(verify_response(reply, artifact=b"hello", trust=trust).path) == 3


def test_an_intermediate_at_hand_is_not_fetched(server: HttpTsa) -> None:
    at_hand = TrustStore(roots=TRUST.roots, certificates=(INTERMEDIATE,))
    fetch_issuers(stamped(pointing_to(server.url)), at_hand)
    assert server.received == []


@pytest.mark.parametrize("body", [b"", b"nothing", CHAIN.signer.der], ids=["empty", "garbage", "another certificate"])
def test_what_is_not_the_issuer_is_a_failure(server: HttpTsa, body: bytes) -> None:
    server.answer = lambda _: Answer(body=body)
    trust, failures = fetch_issuers(stamped(pointing_to(server.url, "ldap://127.0.0.1/x")), TRUST)
    assert [failure.url for failure in failures] == [server.url, "ldap://127.0.0.1/x"]
    assert trust.certificates == ()


def test_issuers_are_fetched_from_the_command_line_only_when_asked(
    server: HttpTsa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.tsr").write_bytes(stamped(pointing_to(server.url)))
    Path("a.txt").write_bytes(b"hello")
    Path("root.pem").write_bytes(CHAIN.root.certificate.public_bytes(Encoding.PEM))
    arguments = ["verify", "--artifact", "a.txt", "--timestamp", "r.tsr", "--root-certificates", "root.pem"]
    assert timestamp_cli.run(arguments) == 1
    assert server.received == []
    assert timestamp_cli.run([*arguments, "--fetch-issuers"]) == 0
