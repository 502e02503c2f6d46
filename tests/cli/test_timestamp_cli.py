"""timestamp-cli as people and scripts use it: output, files, exit codes, one line for every failure."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import Outcome, Shell, honest
from tsa_core import __version__
from tsa_core.protocol.hashes import SHA256, SHA384
from tsa_core.protocol.reply import read_reply
from tsa_core.protocol.request import read_request
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import make_chain
from tsa_core.testing.http_tsa import Answer, HttpTsa

# --- timestamp ---


def test_timestamp_as_the_reference_is_called(shell: Shell, tsa: HttpTsa) -> None:
    now = datetime.now(UTC)
    tsa.answer = partial(honest, gen_time=now)
    outcome = shell(
        *("--timestamp_server", tsa.origin, "timestamp", "--artifact", "a.txt", "--hash", "sha384"),
        *("--nonce=true", "--certificate=true", "--out", "r.tsr"),
    )
    assert outcome == Outcome(
        code=0,
        out=f"Artifact timestamped at {now:%Y-%m-%d %H:%M:%S} UTC\nWrote timestamp response to r.tsr\n",
        err="",
    )
    sent = read_request(tsa.received[0].body)
    assert (sent.digest, sent.cert_req) == (SHA384.digest(b"hello"), True)
    assert sent.nonce is not None
    assert tsa.received[0].path == "/api/v1/timestamp"
    Path("plain").touch()
    assert Path("r.tsr").stat().st_mode == Path("plain").stat().st_mode, "as the umask says"


def test_timestamp_json_has_nothing_else_on_stdout(shell: Shell, tsa: HttpTsa) -> None:
    now = datetime.now(UTC)
    tsa.answer = partial(honest, gen_time=now)
    outcome = shell("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url, "--format", "json")
    assert json.loads(outcome.out) == {
        "Timestamp": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "Location": "response.tsr",
        "Server": tsa.url,
    }


def test_v6_a_time_that_is_long_past_is_a_warning(shell: Shell, tsa: HttpTsa) -> None:
    arguments = ("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url, "--force")
    outcome = shell(*arguments)
    assert outcome.code == 0
    assert outcome.err.startswith(f"timestamp-cli: warning: {tsa.url}: genTime is ")
    warnings = json.loads(shell(*arguments, "--format", "json").out)["Warnings"]
    assert "behind this machine's clock" in warnings[0]
    tsa.answer = partial(honest, gen_time=datetime.now(UTC) - timedelta(hours=2))
    assert "an old one" in shell.fails(1, *arguments, "--nonce=false")
    assert shell(*arguments, "--nonce=false", "--clock-window", "3h").code == 0


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
        assert "later" in error
        assert list(Path().glob("*.tsr")) == []
        outcome = shell(
            "timestamp", "--artifact", "a.txt", *servers, "--threshold", "2", "--out", "x.tsr", "--format", "json"
        )
    assert outcome.code == 0
    assert [item["Location"] for item in json.loads(outcome.out)["Timestamps"]] == ["x.1.tsr", "x.2.tsr"]
    assert Path("x.2.tsr").exists()
    # Enough others may have answered before it has (decision 151).
    assert re.search(f"no timestamp from {re.escape(broken.url)}: .*(later|not waited for)", outcome.err)


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
    Path("c.toml").write_text(
        f'timestamp_server = "{tsa.origin}"\nhash = "sha512"\nout = "from-file.tsr"\nforce = true\n'
    )
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
