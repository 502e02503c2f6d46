"""openssl ts, both ways: it checks our replies, and we check its."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tsa_core.client import TimestampClient, TimestampRefused, build_request
from tsa_core.protocol.hashes import SHA256
from tsa_core.testing.forged_pki import make_chain
from tsa_core.testing.http_tsa import Answer, HttpTsa
from tsa_core.testing.programs import require_program
from tsa_core.verify import ImprintMismatch, TrustStore, Verifier

OPENSSL_CONF = """
[tsa]
default_tsa = tsa1
[tsa1]
serial = {folder}/serial
signer_cert = {folder}/signer.pem
certs = {folder}/chain.pem
signer_key = {folder}/key.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
other_policies = 1.2.3.4.5
digests = sha256, sha384, sha512
accuracy = secs:1, millisecs:500, microsecs:100
ordering = {ordering}
tsa_name = {tsa_name}
ess_cert_id_chain = {chain}
ess_cert_id_alg = {alg}
"""


@pytest.fixture
def openssl() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    program = require_program("openssl")

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([program, *arguments], capture_output=True, check=False, timeout=60)

    return run


@pytest.mark.plugin("file")
@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_openssl_verifies_our_reply(served: Any, openssl: Any, tmp_path: Path, hash_name: str) -> None:
    data, query, reply = tmp_path / "data", tmp_path / "q.tsq", tmp_path / "r.tsr"
    data.write_bytes(b"hello")
    made = openssl("ts", "-query", "-data", data, f"-{hash_name}", "-cert", "-out", query)
    assert made.returncode == 0, made.stderr
    with TimestampClient(served.url, verifier=Verifier(served.trust)) as client:
        reply.write_bytes(client.send(query.read_bytes()).reply)
    trust = ("-CAfile", served.root_file, "-untrusted", served.chain_file)
    for what in (("-queryfile", query), ("-data", data)):
        done = openssl("ts", "-verify", *what, "-in", reply, *trust)
        assert b"Verification: OK" in done.stdout, done.stderr
    text = openssl("ts", "-reply", "-in", reply, "-text").stdout
    assert b"Status: Granted." in text
    data.write_bytes(b"other")
    assert openssl("ts", "-verify", "-data", data, "-in", reply, *trust).returncode != 0


@pytest.fixture(
    params=[
        ("rsa2048", "no", "no", "yes", "sha1"),
        ("rsa2048", "yes", "yes", "no", "sha256"),
        ("p256", "no", "yes", "yes", "sha256"),
        ("p384", "yes", "no", "no", "sha512"),
    ],
    ids=["rsa-v1-ids", "rsa-v2-chain-of-ids", "p256", "p384-sha512-ids"],
)
def openssl_tsa(request: pytest.FixtureRequest, openssl: Any, tmp_path: Path) -> Iterator[tuple[HttpTsa, TrustStore]]:
    """`openssl ts -reply` behind HTTP."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    kind, chain_of_ids, ordering, tsa_name, alg = request.param
    chain = make_chain(kind)
    (tmp_path / "signer.pem").write_bytes(chain.signer.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "chain.pem").write_bytes(chain.pem)
    key = chain.signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "serial").write_text("01\n")
    conf = OPENSSL_CONF.format(folder=tmp_path, chain=chain_of_ids, ordering=ordering, tsa_name=tsa_name, alg=alg)
    (tmp_path / "tsa.cnf").write_text(conf)

    def answer(query: bytes) -> Answer:
        (tmp_path / "q.tsq").write_bytes(query)
        made = openssl(
            *("ts", "-reply", "-config", tmp_path / "tsa.cnf", "-queryfile", tmp_path / "q.tsq"),
            *("-out", tmp_path / "r.tsr"),
        )
        assert made.returncode == 0, made.stderr
        return Answer(body=(tmp_path / "r.tsr").read_bytes())

    with HttpTsa(answer) as server:
        yield server, TrustStore.from_chain(chain.pem)


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("certificate", [True, False])
def test_we_verify_openssls_reply(openssl_tsa: tuple[HttpTsa, TrustStore], hash_name: str, certificate: bool) -> None:
    tsa, trust = openssl_tsa
    client = TimestampClient(tsa.url, verifier=Verifier(trust))
    timestamp = client.stamp(artifact=b"hello", hash_name=hash_name, certificate=certificate)
    assert timestamp.verified is not None
    assert timestamp.verified.latest is not None
    assert (timestamp.verified.latest - timestamp.time).total_seconds() == 1.5001
    with pytest.raises(ImprintMismatch):
        Verifier(trust).verify_response(timestamp.reply, artifact=b"hell0")


def test_openssls_refusal_is_explained(openssl_tsa: tuple[HttpTsa, TrustStore]) -> None:
    tsa, _ = openssl_tsa
    with pytest.raises(TimestampRefused) as caught:
        TimestampClient(tsa.url).stamp(artifact=b"hello", policy="1.9.9.9")
    assert caught.value.failures == ("unacceptedPolicy",)


def test_openssl_reads_our_request(openssl: Any, tmp_path: Path) -> None:
    query = tmp_path / "q.tsq"
    query.write_bytes(build_request(artifact=b"hello", policy="1.2.3.4", nonce=0x1234))
    text = openssl("ts", "-query", "-in", query, "-text").stdout.decode()
    for part in ("sha256", "Policy OID: 1.2.3.4", "Nonce: 0x1234", "Certificate required: yes"):
        assert part in text
    assert SHA256.digest(b"hello")[:4].hex(" ") in text
