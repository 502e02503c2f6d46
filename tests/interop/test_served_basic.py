"""A served token and the clients that everybody has: openssl with the root alone, curl, rfc3161-client."""

from __future__ import annotations

import hashlib
import importlib
import json
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests import pki
from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, refused
from tests.serving import QUERY, Parts, Server, TestSigner, running_server
from tsa_core.testing import ServerProcess
from tsa_core.testing.programs import require_program

OPENSSL_KINDS = ("rsa-2048", "rsa-3072", "rsa-4096", "p256", "p384", "p521")
DATA = b"an artifact\n"
PUBLISHED_HASH = "n4bQgYhMfWWaL-qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="

Run = Callable[..., subprocess.CompletedProcess[str]]


def runner(name: str, folder: Path) -> Run:
    """Return a function that runs a program in `folder`; it skips, or fails where nothing may be missing."""
    program = require_program(name)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(program), *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture
def openssl(tmp_path: Path) -> Run:
    (tmp_path / "data").write_bytes(DATA)
    return runner("openssl", tmp_path)


@pytest.fixture
def curl(tmp_path: Path) -> Run:
    return runner("curl", tmp_path)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    signers = {kind: TestSigner(kind) for kind in OPENSSL_KINDS}
    profiles = {kind: {"signer": f"test:{kind}"} for kind in OPENSSL_KINDS}
    with running_server(Parts(signers=signers), profiles=profiles) as running:
        yield running


@pytest.fixture(scope="module")
def spawned() -> Iterator[Server]:
    with ServerProcess(None, "--port", "0") as process:
        yield Server(url=process.url)


def get_root(server: Server, path: str = "/api/v1/timestamp/certchain") -> bytes:
    """Return the last certificate of the chain that the server gives, as PEM."""
    reply = server.request("GET", path)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/pem-certificate-chain"
    return x509.load_pem_x509_certificates(reply.body)[-1].public_bytes(Encoding.PEM)


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("kind", OPENSSL_KINDS)
def test_openssl_verifies_with_the_root_alone(
    server: Server, openssl: Run, tmp_path: Path, kind: str, hash_name: str
) -> None:
    query = openssl("ts", "-query", "-data", "data", f"-{hash_name}", "-cert", "-out", "q.tsq")
    assert query.returncode == 0, query.stderr
    reply = server.post((tmp_path / "q.tsq").read_bytes(), path=f"/tsa/{kind}")
    granted(reply.body)
    (tmp_path / "r.tsr").write_bytes(reply.body)
    (tmp_path / "root.pem").write_bytes(get_root(server, f"/tsa/{kind}/certchain"))
    for what in (("-queryfile", "q.tsq"), ("-data", "data")):
        verified = openssl("ts", "-verify", "-in", "r.tsr", *what, "-CAfile", "root.pem")
        assert verified.returncode == 0, verified.stderr
        assert "Verification: OK" in verified.stdout + verified.stderr
    text = openssl("ts", "-reply", "-in", "r.tsr", "-text").stdout
    assert "Status: Granted." in text
    assert "Accuracy: 0x01 seconds" in text
    assert "Ordering: no" in text
    # Other data must not verify, or the check above would prove nothing.
    (tmp_path / "data").write_bytes(DATA + b".")
    assert openssl("ts", "-verify", "-in", "r.tsr", "-data", "data", "-CAfile", "root.pem").returncode != 0


@pytest.mark.parametrize("kind", ["rsa-2048", "p256"])
def test_openssl_verifies_without_embedded_certificates(
    server: Server, openssl: Run, tmp_path: Path, kind: str
) -> None:
    assert openssl("ts", "-query", "-data", "data", "-sha256", "-no_nonce", "-out", "q.tsq").returncode == 0
    reply = server.post((tmp_path / "q.tsq").read_bytes(), path=f"/tsa/{kind}")
    assert granted(reply.body).certificates is None
    (tmp_path / "r.tsr").write_bytes(reply.body)
    chain = x509.load_pem_x509_certificates(server.request("GET", f"/tsa/{kind}/certchain").body)
    (tmp_path / "root.pem").write_bytes(pki.pem(chain[-1:]))
    (tmp_path / "rest.pem").write_bytes(pki.pem(chain[:-1]))
    arguments = ("ts", "-verify", "-in", "r.tsr", "-queryfile", "q.tsq", "-CAfile", "root.pem")
    verified = openssl(*arguments, "-untrusted", "rest.pem")
    assert verified.returncode == 0, verified.stderr
    assert openssl(*arguments).returncode != 0, "nobody has the signer's certificate"


def test_openssl_explains_our_rejections(server: Server, openssl: Run, tmp_path: Path) -> None:
    assert openssl("ts", "-query", "-data", "data", "-sha1", "-cert", "-out", "q.tsq").returncode == 0
    reply = server.post((tmp_path / "q.tsq").read_bytes())
    refused(reply.body, "03020780")
    (tmp_path / "r.tsr").write_bytes(reply.body)
    text = openssl("ts", "-reply", "-in", "r.tsr", "-text").stdout
    assert "Status: Rejected." in text
    assert "unrecognized or unsupported algorithm identifier" in text
    assert "sha256, sha384, sha512" in text


@pytest.mark.plugin("memory")
def test_curl_and_openssl_as_the_readme_has_it(spawned: Server, openssl: Run, curl: Run, tmp_path: Path) -> None:
    route = f"{spawned.url}/api/v1/timestamp"
    assert openssl("ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "q.tsq").returncode == 0
    sent = curl("-sS", "-H", f"Content-Type: {QUERY}", "--data-binary", "@q.tsq", route, "-o", "r.tsr")
    assert sent.returncode == 0, sent.stderr
    assert curl("-sS", f"{route}/certchain", "-o", "chain.pem").returncode == 0
    chain = x509.load_pem_x509_certificates((tmp_path / "chain.pem").read_bytes())
    (tmp_path / "root.pem").write_bytes(chain[-1].public_bytes(Encoding.PEM))
    verified = openssl("ts", "-verify", "-in", "r.tsr", "-queryfile", "q.tsq", "-CAfile", "root.pem")
    assert "Verification: OK" in verified.stdout + verified.stderr, verified.stderr


@pytest.mark.plugin("memory")
@pytest.mark.parametrize(
    "options", [(), ("--http1.0",), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect: 100-continue")]
)
def test_curl_in_every_way_of_sending(spawned: Server, curl: Run, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "q.tsq").write_bytes(PlainRequest(nonce=7, cert_req=True).encode())
    sent = curl(
        "-sS", "-f", "-D", "head", *options, "-H", f"Content-Type: {QUERY}", "--data-binary", "@q.tsq",
        f"{spawned.url}/api/v1/timestamp", "-o", "r.tsr",
    )  # fmt: skip
    assert sent.returncode == 0, sent.stderr
    assert granted((tmp_path / "r.tsr").read_bytes()).tst_info["nonce"].native == 7
    head = (tmp_path / "head").read_text().lower()
    assert "content-type: application/timestamp-reply\n" in head
    assert "transfer-encoding" not in head


@pytest.mark.plugin("memory")
def test_curl_sends_the_published_json_example(spawned: Server, curl: Run, openssl: Run, tmp_path: Path) -> None:
    document = {
        "artifactHash": PUBLISHED_HASH,
        "certificates": False,
        "hashAlgorithm": "sha256",
        "nonce": 1123343434,
        "tsaPolicyOID": "1.3.6.1.4.1.57264.2",
    }
    (tmp_path / "request.json").write_text(json.dumps(document))
    route = f"{spawned.url}/api/v1/timestamp"
    sent = curl("-sS", "-H", "Content-Type: application/json", "--data-binary", "@request.json", route, "-o", "r.tsr")
    assert sent.returncode == 0, sent.stderr
    text = openssl("ts", "-reply", "-in", "r.tsr", "-text").stdout
    assert f"Nonce: 0x{1123343434:X}" in text
    assert "Policy OID: 1.3.6.1.4.1.57264.2" in text
    assert "Accuracy: 0x01 seconds" in text


@pytest.mark.plugin("memory")
def test_curl_sees_a_rejection_as_the_reference_system_gives_it(curl: Run, tmp_path: Path) -> None:
    (tmp_path / "q.tsq").write_bytes(PlainRequest(hash_name="sha1", digest=bytes(20)).encode())
    with ServerProcess(None, "--port", "0", "--rejections=sigstore") as server:
        sent = curl(
            "-sS", "-w", "%{http_code}", "-H", f"Content-Type: {QUERY}", "--data-binary", "@q.tsq",
            f"{server.url}/api/v1/timestamp", "-o", "reply",
        )  # fmt: skip
    assert sent.stdout == "400"
    document = json.loads((tmp_path / "reply").read_bytes())
    assert document == {"code": 400, "message": "Weak hash algorithm in timestamp request"}


@pytest.mark.package("rfc3161_client", install="rfc3161-client")
@pytest.mark.parametrize("kind", ["rsa-2048", "rsa-4096", "p256", "p384", "p521"])
def test_rfc3161_client_verifies(server: Server, kind: str) -> None:
    client = importlib.import_module("rfc3161_client")
    request = client.TimestampRequestBuilder().data(DATA).nonce(nonce=True).cert_request(cert_request=True).build()
    reply = server.post(request.as_bytes(), path=f"/tsa/{kind}")
    response = client.decode_timestamp_response(reply.body)
    root = x509.load_pem_x509_certificate(get_root(server, f"/tsa/{kind}/certchain"))
    verifier = client.VerifierBuilder.from_request(request).add_root_certificate(root).build()
    assert verifier.verify(response, hashlib.sha512(DATA).digest())
    with pytest.raises(client.VerificationError):
        verifier.verify(response, hashlib.sha512(DATA + b".").digest())


@pytest.mark.plugin("memory")
def test_sigterm_answers_what_has_arrived_and_exits_0() -> None:
    body = PlainRequest(nonce=7).encode()
    with ServerProcess(None, "--port", "0") as server:
        with socket.create_connection(server.address(), timeout=30) as connection:
            head = f"POST /api/v1/timestamp HTTP/1.1\r\nHost: x\r\nContent-Type: {QUERY}\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
            # Its reply shows that the server has read what was sent before it.
            assert server.get("/ping").body == b"."
            server.process.send_signal(signal.SIGTERM)
            connection.sendall(body[-1:])
            received = b""
            while part := connection.recv(65536):
                received += part
        assert granted(received.partition(b"\r\n\r\n")[2]).tst_info["nonce"].native == 7
        assert server.process.wait(timeout=30) == 0
