"""timestamp-cli as people and scripts use it: output, files, exit codes, one line for every failure."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tsa_core import __version__
from tsa_core.cli import timestamp as timestamp_cli
from tsa_core.protocol.hashes import SHA256, SHA384
from tsa_core.protocol.reply import read_reply
from tsa_core.protocol.request import encode_request, read_request
from tsa_core.protocol.tstinfo import Accuracy
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import make_chain
from tsa_core.testing.http_tsa import Answer, HttpTsa

CHAIN = make_chain()


def honest(request: bytes) -> Answer:
    parsed = read_request(request)
    assert parsed.hash_algorithm is not None
    content = forge.tst_info(
        hash_algorithm=parsed.hash_algorithm,
        digest=parsed.digest,
        nonce=parsed.nonce,
        policy=parsed.policy or forge.POLICY,
        accuracy=Accuracy(microseconds=1_000_000),
    )
    certificates = [CHAIN.signer.der, CHAIN.intermediate.der] if parsed.cert_req else []
    return Answer(body=forge.reply(forge.token(CHAIN.signer, content, certificates=certificates)))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    code: int
    out: str
    err: str


class Shell:
    """Runs timestamp-cli in this process, in a folder of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Outcome:
        self._capsys.readouterr()
        code = timestamp_cli.run(arguments)
        captured = self._capsys.readouterr()
        return Outcome(code=code, out=captured.out, err=captured.err)

    def fails(self, code: int, *arguments: str) -> str:
        outcome = self(*arguments)
        assert outcome.code == code, outcome
        assert outcome.out == ""
        assert outcome.err.startswith("timestamp-cli: ")
        assert outcome.err.count("\n") == 1
        return outcome.err


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    for name in [name for name in os.environ if name.startswith("TIMESTAMP_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_bytes(b"hello")
    Path("chain.pem").write_bytes(CHAIN.pem)
    return Shell(capsys)  # type: ignore[return-value]


@pytest.fixture
def tsa() -> Iterator[HttpTsa]:
    with HttpTsa(honest) as server:
        yield server


@pytest.fixture
def reply(shell: Shell, tsa: HttpTsa) -> str:
    assert shell("timestamp", "--artifact", "a.txt", "--out", "r.tsr", "--timestamp_server", tsa.url).code == 0
    return "r.tsr"


def names(reply: str) -> set[str]:
    return {line.partition(":")[0] for line in reply.splitlines()}


# --- timestamp ---


def test_timestamp_as_the_reference_is_called(shell: Shell, tsa: HttpTsa) -> None:
    outcome = shell(
        *("--timestamp_server", tsa.origin, "timestamp", "--artifact", "a.txt", "--hash", "sha384"),
        *("--nonce=true", "--certificate=true", "--out", "r.tsr"),
    )
    assert outcome == Outcome(
        code=0,
        out="Artifact timestamped at 2025-06-01 12:00:00 UTC\nWrote timestamp response to r.tsr\n",
        err="",
    )
    sent = read_request(tsa.received[0].body)
    assert (sent.digest, sent.cert_req) == (SHA384.digest(b"hello"), True)
    assert sent.nonce is not None
    assert tsa.received[0].path == "/api/v1/timestamp"
    assert stat.S_IMODE(Path("r.tsr").stat().st_mode) == 0o600


def test_timestamp_json_has_nothing_else_on_stdout(shell: Shell, tsa: HttpTsa) -> None:
    outcome = shell("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url, "--format", "json")
    assert json.loads(outcome.out) == {
        "Timestamp": "2025-06-01T12:00:00Z",
        "Location": "response.tsr",
        "Server": tsa.url,
    }


def test_timestamp_options_reach_the_request(shell: Shell, tsa: HttpTsa) -> None:
    shell(
        *("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url, "--nonce=false"),
        *("--certificate=false", "--tsa-policy", "1.2.3"),
    )
    sent = read_request(tsa.received[0].body)
    assert (sent.nonce, sent.cert_req, sent.policy) == (None, False, "1.2.3")


@pytest.mark.parametrize("prefix", ["", "sha256:", "SHA-256:"])
def test_timestamp_of_a_digest(shell: Shell, tsa: HttpTsa, prefix: str) -> None:
    digest = SHA256.digest(b"hello")
    assert shell("timestamp", "--digest", prefix + digest.hex(), "--timestamp_server", tsa.url).code == 0
    assert read_request(tsa.received[0].body).digest == digest


def test_timestamp_recognises_longer_digests(shell: Shell, tsa: HttpTsa) -> None:
    assert shell("timestamp", "--digest", "00" * 48, "--timestamp_server", tsa.url).code == 0
    assert read_request(tsa.received[0].body).hash_algorithm is SHA384


def test_timestamp_from_stdin_to_stdout(shell: Shell, tsa: HttpTsa) -> None:
    command = [sys.executable, "-m", "tsa_core.cli.timestamp", "timestamp", "--artifact", "-", "--out", "-"]
    done = subprocess.run([*command, "--timestamp_server", tsa.url], input=b"hello", capture_output=True, check=True)
    token = read_reply(done.stdout).token
    assert token is not None
    assert SHA256.digest(b"hello") in token.content
    assert b"Artifact timestamped at" in done.stderr


def test_timestamp_of_several_servers(shell: Shell, tsa: HttpTsa) -> None:
    with HttpTsa(lambda _: Answer(body=forge.reply(status=2, texts=["later"], failures=[14]))) as broken:
        servers = [f"--timestamp_server={url}" for url in (tsa.url, broken.url, tsa.origin)]
        error = shell.fails(1, "timestamp", "--artifact", "a.txt", *servers)
        assert "timeNotAvailable" in error
        assert list(Path().glob("*.tsr")) == []
        outcome = shell(
            "timestamp", "--artifact", "a.txt", *servers, "--threshold", "2", "--out", "x.tsr", "--format", "json"
        )
    assert outcome.code == 0
    assert [item["Location"] for item in json.loads(outcome.out)["Timestamps"]] == ["x.1.tsr", "x.2.tsr"]
    assert Path("x.2.tsr").exists()
    assert "no timestamp from" in outcome.err
    assert "later" in outcome.err


def test_timestamp_verify_with(shell: Shell, tsa: HttpTsa) -> None:
    common = ("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url)
    assert shell(*common, "--verify-with", "chain.pem").code == 0
    Path("other.pem").write_bytes(make_chain().pem)
    Path("response.tsr").unlink()
    assert "must not be used" in shell.fails(1, *common, "--verify-with", "other.pem")
    assert not Path("response.tsr").exists()


def test_timestamp_refused_is_one_line_and_no_file(shell: Shell, tsa: HttpTsa) -> None:
    tsa.answer = lambda _: Answer(body=forge.reply(status=2, texts=["two\nlines"], failures=[0]))
    error = shell.fails(1, "timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url)
    assert "badAlg" in error
    assert not Path("response.tsr").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--artifact", "missing.txt"),
        ("--artifact", "."),
        ("--artifact", "a.txt", "--digest", "00" * 32),
        ("--digest", "zz"),
        ("--digest", "00"),
        ("--digest", "sha1:" + "00" * 20),
        ("--digest", "sha256:" + "00" * 32, "--hash", "sha512"),
        ("--artifact", "a.txt", "--hash", "sha1"),
        ("--artifact", "a.txt", "--hash", "what"),
        ("--artifact", "a.txt", "--nonce=maybe"),
        ("--artifact", "a.txt", "--threshold", "2"),
        ("--artifact", "a.txt", "--threshold", "0"),
        ("--artifact", "a.txt", "--timeout", "soon"),
        ("--artifact", "a.txt", "--timeout", "0s"),
        ("--artifact", "a.txt", "--format", "xml"),
        ("--artifact", "a.txt", "--out", "-", "--format", "json"),
        ("--artifact", "a.txt", "--config", "missing.toml"),
        ("--artifact", "a.txt", "--no-such-flag"),
        ("--artifact", "a.txt", "--verify-with", "missing.pem"),
    ],
)
def test_timestamp_usage_errors(shell: Shell, tsa: HttpTsa, arguments: tuple[str, ...]) -> None:
    shell.fails(2, "timestamp", "--timestamp_server", tsa.url, *arguments)
    assert tsa.received == []


def test_timestamp_out_that_cannot_be_written(shell: Shell, tsa: HttpTsa) -> None:
    arguments = ("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url, "--out", "no/folder/r.tsr")
    assert "cannot be written" in shell.fails(2, *arguments)


# --- where settings come from ---


def test_environment_and_configuration_file(shell: Shell, tsa: HttpTsa, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("c.toml").write_text(f'timestamp_server = "{tsa.origin}"\nhash = "sha512"\nout = "from-file.tsr"\n')
    assert shell("--config", "c.toml", "timestamp", "--artifact", "a.txt").code == 0
    assert shell("timestamp", "--artifact", "a.txt", "--config", "c.toml", "--hash", "sha384").code == 0
    monkeypatch.setenv("TIMESTAMP_HASH", "sha3-256")
    monkeypatch.setenv("TIMESTAMP_CONFIG", "c.toml")
    assert shell("timestamp", "--artifact", "a.txt").code == 0
    sent = [read_request(received.body).hash_algorithm for received in tsa.received]
    assert [algorithm.name for algorithm in sent if algorithm] == ["sha512", "sha384", "sha3-256"]
    assert Path("from-file.tsr").exists()


def test_configuration_of_one_command(shell: Shell, reply: str) -> None:
    Path("c.toml").write_text('[verify]\ncertificate-chain = "chain.pem"\ncommon-name = "Somebody"\n')
    arguments = ("verify", "--config", "c.toml", "--artifact", "a.txt", "--timestamp", reply)
    assert "common name" in shell.fails(1, *arguments)
    assert shell(*arguments, "--common-name", "Signer").code == 0
    Path("c.toml").write_text('[verify]\nchain = "chain.pem"\n')
    assert "verify.chain" in shell.fails(2, *arguments)


def test_configuration_as_json_and_with_several_servers(shell: Shell, tsa: HttpTsa) -> None:
    Path("c.json").write_text(json.dumps({"timestamp-server": [tsa.url, tsa.origin], "nonce": False}))
    assert shell("timestamp", "--artifact", "a.txt", "--config", "c.json").code == 0
    assert len(tsa.received) == 2
    assert read_request(tsa.received[0].body).nonce is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.toml", "hash = ", "cannot be read"),
        ("c.toml", 'hsah = "sha256"', "hsah"),
        ("c.json", "[1, 2]", "names with values"),
        ("c.json", "[" * 100_000, "cannot be read"),
    ],
)
def test_configuration_files_that_are_wrong(shell: Shell, name: str, text: str, said: str) -> None:
    Path(name).write_text(text)
    assert said in shell.fails(2, "timestamp", "--artifact", "a.txt", "--config", name)


def test_the_server_of_the_environment(shell: Shell, tsa: HttpTsa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMESTAMP_TIMESTAMP_SERVER", tsa.url)
    assert shell("timestamp", "--artifact", "a.txt").code == 0
    assert len(tsa.received) == 1


# --- verify ---


def test_verify_with_a_chain_with_and_without_the_signer(shell: Shell, reply: str) -> None:
    arguments = ("verify", "--artifact", "a.txt", "--timestamp", reply, "--certificate-chain")
    assert shell(*arguments, "chain.pem").out == "Successfully verified timestamp r.tsr\n"
    end = b"-----END CERTIFICATE-----\n"
    Path("without.pem").write_bytes(CHAIN.pem.split(end, 1)[1])
    assert shell(*arguments, "without.pem").code == 0


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
    assert outcome.out == "Successfully verified timestamp bare.tst\n"


def test_verify_other_artifact(shell: Shell, reply: str) -> None:
    Path("b.txt").write_bytes(b"hell0")
    arguments = ("verify", "--artifact", "b.txt", "--timestamp", reply, "--certificate-chain", "chain.pem")
    assert "not the one in the token" in shell.fails(1, *arguments)


def test_verify_crls(shell: Shell, reply: str) -> None:
    from datetime import timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(CHAIN.intermediate.certificate.subject)
        .last_update(forge.GEN_TIME)
        .next_update(forge.GEN_TIME + timedelta(days=1))
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
    assert document["HashAlgorithm"] == "SHA-256"
    assert base64.b64decode(document["HashedMessage"]) == SHA256.digest(b"hello")
    assert document["Policy"] == forge.POLICY
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


# --- the rest ---


def test_version(shell: Shell) -> None:
    assert f"tsa-core: {__version__}" in shell("version").out
    assert json.loads(shell("version", "--json").out)["tsa-core"] == __version__


def test_help_names_every_flag_of_the_reference(shell: Shell) -> None:
    flags = {
        "timestamp": ("artifact", "hash", "nonce", "certificate", "tsa-policy", "out"),
        "verify": (
            *("artifact", "timestamp", "certificate-chain", "root-certificates", "intermediate-certificates"),
            *("certificate", "nonce", "oid", "common-name"),
        ),
        "inspect": ("timestamp",),
    }
    for command, expected in flags.items():
        text = shell(command, "--help").out
        for flag in (*expected, "timestamp_server", "format", "timeout", "config"):
            assert f"--{flag}" in text, (command, flag)


def test_unknown_commands_are_usage_errors(shell: Shell) -> None:
    shell.fails(2, "stamp")
