"""timestamp-cli verify and inspect: what they accept, refuse and print."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import CHAIN, Shell, names, piped
from tsa_core.cli import timestamp as timestamp_cli
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request, read_request
from tsa_core.testing import forge
from tsa_core.testing.http_tsa import HttpTsa

# --- verify ---


def test_verify_with_a_chain_with_and_without_the_signer(shell: Shell, reply: str) -> None:
    arguments = ("verify", "--artifact", "a.txt", "--timestamp", reply, "--certificate-chain")
    assert shell(*arguments, "chain.pem").out.startswith("Successfully verified timestamp r.tsr\n")
    end = b"-----END CERTIFICATE-----\n"
    Path("without.pem").write_bytes(CHAIN.pem.split(end, 1)[1])
    assert shell(*arguments, "without.pem").code == 0


def test_verify_what_comes_through_a_pipe(shell: Shell, reply: str) -> None:
    with piped(reply) as timestamp, piped("a.txt") as artifact, piped("chain.pem") as chain:
        outcome = shell("verify", "--timestamp", timestamp, "--artifact", artifact, "--certificate-chain", chain)
    assert outcome.code == 0, outcome


def test_verify_with_split_files(shell: Shell, reply: str) -> None:
    end = "-----END CERTIFICATE-----\n"
    signer, intermediate, root = (part + end for part in CHAIN.pem.decode().split(end)[:3])
    Path("root.pem").write_text(root)
    Path("middle.pem").write_text(intermediate)
    Path("signer.pem").write_text(signer)
    arguments = ("verify", "--artifact", "a.txt", "--timestamp", reply, "--root-certificates", "root.pem")
    assert shell(*arguments, "--intermediate-certificates", "middle.pem").code == 0
    assert shell(*arguments, "--certificate", "signer.pem").code == 0
    assert "another certificate" in shell.fails(1, *arguments, "--certificate", "middle.pem")


def test_verify_json(shell: Shell, reply: str) -> None:
    outcome = shell(
        *("verify", "--artifact", "a.txt", "--timestamp", reply, "--certificate-chain", "chain.pem"),
        *("--format", "json"),
    )
    document = json.loads(outcome.out)
    assert document["TimestampPath"] == "r.tsr"
    parsed = document["ParsedTimestamp"]
    assert parsed["Time"] == "2025-06-01T12:00:00Z"
    assert parsed["Accuracy"] == 1_000_000_000
    assert parsed["Path"][0] == parsed["Signer"] == "CN=Signer,O=tsa-core tests"


def expectation(shell: Shell, reply: str) -> tuple[str, ...]:
    return ("verify", "--artifact", "a.txt", "--timestamp", reply, "--certificate-chain", "chain.pem")


def test_verify_expectations(shell: Shell, reply: str, tsa: HttpTsa) -> None:
    arguments = expectation(shell, reply)
    nonce = read_request(tsa.received[0].body).nonce
    assert shell(*arguments, "--nonce", str(nonce), "--oid", forge.POLICY, "--common-name", "Signer").code == 0
    shell.fails(1, *arguments, "--nonce", "1")
    shell.fails(1, *arguments, "--oid", "1.2.3")
    shell.fails(1, *arguments, "--common-name", "Somebody")


def test_verify_request_and_digest(shell: Shell, reply: str, tsa: HttpTsa) -> None:
    Path("q.tsq").write_bytes(tsa.received[0].body)
    Path("other.tsq").write_bytes(encode_request(algorithm=SHA256, digest=SHA256.digest(b"hello"), nonce=5))
    arguments = ("verify", "--timestamp", reply, "--certificate-chain", "chain.pem")
    assert shell(*arguments, "--request", "q.tsq").code == 0
    assert "nonce" in shell.fails(1, *arguments, "--request", "other.tsq")
    digest = SHA256.digest(b"hello").hex()
    assert shell(*arguments, "--digest", digest).code == 0
    assert shell(*arguments, "--digest", f"sha256:{digest}").code == 0
    shell.fails(1, *arguments, "--digest", f"sha3-256:{digest}")
    shell.fails(1, *arguments, "--digest", "00" * 32)


def test_verify_bare_token(shell: Shell, reply: str) -> None:
    token = forge.token(CHAIN.signer, certificates=[CHAIN.signer.der])
    Path("bare.tst").write_bytes(token)
    outcome = shell("verify", "--artifact", "a.txt", "--timestamp", "bare.tst", "--certificate-chain", "chain.pem")
    assert outcome.out.startswith("Successfully verified timestamp bare.tst\n")


def test_verify_other_artifact(shell: Shell, reply: str) -> None:
    Path("b.txt").write_bytes(b"hell0")
    arguments = ("verify", "--artifact", "b.txt", "--timestamp", reply, "--certificate-chain", "chain.pem")
    assert "not the one in the token" in shell.fails(1, *arguments)


def test_verify_crls(shell: Shell, reply: str) -> None:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(CHAIN.intermediate.certificate.subject)
        .last_update(datetime.now(UTC) - timedelta(hours=1))
        .next_update(datetime.now(UTC) + timedelta(days=1))
    )
    key = CHAIN.intermediate.key
    Path("good.crl").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
    entry = x509.RevokedCertificateBuilder().serial_number(CHAIN.signer.certificate.serial_number)
    revoked = builder.add_revoked_certificate(entry.revocation_date(forge.GEN_TIME).build())
    Path("bad.crl").write_bytes(revoked.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    arguments = expectation(shell, reply)
    assert shell(*arguments, "--crl", "good.crl").code == 0
    assert "revoked" in shell.fails(1, *arguments, "--crl", "good.crl", "--crl", "bad.crl")
    assert "was revoked" in shell.fails(1, *arguments, "--crl", "good.crl", "--revocation", "path")
    assert "cannot be read" in shell.fails(1, *arguments, "--crl", "a.txt")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--timestamp", "r.tsr", "--certificate-chain", "chain.pem"),
        ("--timestamp", "r.tsr", "--artifact", "a.txt"),
        ("--timestamp", "gone.tsr", "--artifact", "a.txt", "--certificate-chain", "chain.pem"),
        ("--timestamp", "r.tsr", "--artifact", "gone.txt", "--certificate-chain", "chain.pem"),
        ("--timestamp", "r.tsr", "--artifact", ".", "--certificate-chain", "chain.pem"),
        ("--timestamp", "r.tsr", "--artifact", "a.txt", "--certificate-chain", "gone.pem"),
        ("--timestamp", "r.tsr", "--artifact", "a.txt", "--certificate-chain", "c", "--root-certificates", "r"),
        (
            *("--timestamp", "r.tsr", "--artifact", "a.txt", "--certificate-chain", "chain.pem"),
            *("--intermediate-certificates", "chain.pem"),
        ),
        ("--timestamp", "-", "--artifact", "-", "--certificate-chain", "chain.pem"),
        ("--timestamp", "r.tsr", "--artifact", "a.txt", "--certificate-chain", "chain.pem", "--nonce", "x"),
    ],
)
def test_verify_usage_errors(shell: Shell, reply: str, arguments: tuple[str, ...]) -> None:
    shell.fails(2, "verify", *arguments)


def test_verify_chain_without_a_root_says_what_to_do(shell: Shell, reply: str) -> None:
    end = b"-----END CERTIFICATE-----\n"
    Path("half.pem").write_bytes(end.join(CHAIN.pem.split(end)[:2]) + end)
    arguments = ("verify", "--artifact", "a.txt", "--timestamp", reply, "--certificate-chain", "half.pem")
    assert "--root-certificates" in shell.fails(1, *arguments)


def test_verify_with_certificates_that_are_none_says_so(shell: Shell, reply: str) -> None:
    arguments = ("verify", "--artifact", "a.txt", "--timestamp", reply, "--certificate-chain", "a.txt")
    assert "the certificates cannot be read: they are neither PEM nor DER" in shell.fails(1, *arguments)


def test_verify_garbage(shell: Shell) -> None:
    Path("g.tsr").write_bytes(b"garbage\x1b[31m")
    arguments = ("verify", "--artifact", "a.txt", "--timestamp", "g.tsr", "--certificate-chain", "chain.pem")
    assert "cannot be read" in shell.fails(1, *arguments)


# --- inspect ---

FIELDS = {
    *("Time", "HashAlgorithm", "HashedMessage", "SerialNumber", "Policy", "Ordering", "Nonce", "Accuracy"),
    *("Qualified", "Certificates"),
}


def test_inspect_json_has_the_references_names(shell: Shell, reply: str) -> None:
    document = json.loads(shell("inspect", "--timestamp", reply, "--format", "json").out)["TimestampResponse"]
    assert document.keys() >= FIELDS
    assert (document["HashAlgorithm"], document["HashAlgorithmName"]) == (5, "SHA-256")
    assert base64.b64decode(document["HashedMessage"]) == SHA256.digest(b"hello")
    assert (document["Policy"], document["PolicyOID"]) == ([1, 2, 3, 4, 1], forge.POLICY)
    assert int(document["SerialNumberHex"], 16) == document["SerialNumber"]
    assert base64.b64decode(document["Certificates"][0]["Raw"]) == CHAIN.signer.der


def test_inspect_for_people(shell: Shell, reply: str) -> None:
    out = shell("inspect", "--timestamp", reply).out
    assert names(out) >= {"Status", "Time", "Hash algorithm", "Hashed message", "Certificate 2", "Signer 1"}
    assert "Time: 2025-06-01T12:00:00Z" in out


def test_inspect_on_a_terminal_of_80_columns(shell: Shell, reply: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    assert timestamp_cli.run(["inspect", "--timestamp", reply]) == 0
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("Hash algorithm" in line and "SHA-256" in line for line in lines)


def test_inspect_a_refusal_and_a_bare_token(shell: Shell) -> None:
    Path("no.tsr").write_bytes(forge.reply(status=2, texts=["bad\x1b[2J"], failures=[0, 2]))
    out = shell("inspect", "--timestamp", "no.tsr").out
    assert "Status: rejection" in out
    assert "badAlg; badRequest" in out
    assert "\x1b" not in out
    Path("bare.tst").write_bytes(forge.token(CHAIN.signer, certificates=[CHAIN.signer.der]))
    document = json.loads(shell("inspect", "--timestamp", "bare.tst", "--format=json").out)["TimestampResponse"]
    assert document["Accuracy"] is None
    assert "Status" not in document


def test_inspect_garbage(shell: Shell) -> None:
    for data in (b"", b"x", b"\x30\x80" * 5000, forge.reply(forge.token(CHAIN.signer, b"\x30\x00"))):
        Path("g.tsr").write_bytes(data)
        shell.fails(1, "inspect", "--timestamp", "g.tsr")
    shell.fails(2, "inspect", "--timestamp", "gone.tsr")
