"""A probe of `openssl ts -reply`, which shares no line with our server: what is found is so, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.probe.faulty_authority import CHAIN, FaultyAuthority, make_signer, serving
from tsa_core.probe import Outcome, probe
from tsa_core.testing import require_program

CONFIGURATION = """
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
signer_cert = {folder}/signer.pem
certs = {folder}/others.pem
signer_key = {folder}/key.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512, sha3-256, sha3-384, sha3-512
accuracy = secs:1
tsa_name = yes
ess_cert_id_alg = sha256
"""


def authority(folder: Path) -> FaultyAuthority:
    """Return the usual HTTP around a program that makes the replies."""
    openssl, signer, found = require_program("openssl"), make_signer(), FaultyAuthority()
    (folder / "signer.pem").write_bytes(signer.certificate.public_bytes(Encoding.PEM))
    (folder / "others.pem").write_bytes(CHAIN.intermediate.certificate.public_bytes(Encoding.PEM))
    key = signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(key)
    (folder / "openssl.cnf").write_text(CONFIGURATION.format(folder=folder))
    query, reply = folder / "query", folder / "reply"

    def respond(body: bytes) -> bytes:
        query.write_bytes(body)
        command: list[str | Path] = [openssl, "ts", "-reply", "-config", folder / "openssl.cnf"]
        command += ["-queryfile", query, "-out", reply]
        subprocess.run(command, check=False, capture_output=True, timeout=60)
        return reply.read_bytes()

    found.respond = respond  # type: ignore[method-assign]  # the point of it
    return found


def test_nothing_is_found_that_is_not_so(tmp_path: Path) -> None:
    with serving(authority(tmp_path)) as url:
        report = probe(url, rate=1000, trust=CHAIN.pem, clock_bound=0.5)
    failed = {each.check.id for each in report.failed()}
    # It reads BER, writes NULL and no issuerSerial, and leaves certificates in the order of its files. It asks for the
    # time twice, so that signing-time is a second after genTime in the tokens that it makes at the end of a second.
    expected = {"loose-lengths", "digest-parameters", "certificate-id-form", "certificates-order", "signing-time"}
    assert failed <= expected, report.failed()
    assert {"loose-lengths", "digest-parameters"} <= failed
    assert report.grade.letter in {"A+", "A"}, report.grade
    unseen = {each.check.id for each in report.results if each.outcome is Outcome.UNSEEN}
    assert unseen == {"revocation-answers", "not-revoked"}
