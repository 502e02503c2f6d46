"""timestamp-server init: from nothing to a server that issues."""

from __future__ import annotations

import json
import os
import pty
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tsa_backends.commands import run_command
from tsa_backends.softhsm import PIN, SoftHsm
from tsa_core.api import ConfigError, PluginError
from tsa_core.authority import load_chain
from tsa_core.cli.fetch_tsa_certs import fetch_tsa_certs
from tsa_core.cli.server_group import server
from tsa_core.config import load_settings
from tsa_core.service import Service
from tsa_core.testing import ServerProcess, encode_request, require_program
from tsa_core.verify import TrustStore, verify_response

pytestmark = pytest.mark.plugin("file")

PUBLISHED = (
    *("--crl-url", "http://pki.example.com/{issuer}.crl"),
    *("--issuer-url", "http://pki.example.com/{issuer}.cer"),
    *("--policy-oid", "2.23.140.1.4.2"),
)


def init(directory: Path, *arguments: str, environ: dict[str, str] | None = None) -> Result:
    return CliRunner(env=environ).invoke(server, ["init", str(directory), *arguments], catch_exceptions=False)


def fetch(*arguments: object, environ: dict[str, str] | None = None) -> None:
    result = CliRunner(env=environ).invoke(fetch_tsa_certs, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output


def timestamp_server(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_command(*map(str, arguments))


def modes(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*")}


def test_a_server_serves_what_init_made_and_its_token_verifies(tmp_path: Path) -> None:
    made = timestamp_server("init", tmp_path / "tsa", "--org", "Example Ltd", "--country", "de")
    assert made.returncode == 0, made.stderr
    with ServerProcess(tmp_path / "tsa" / "tsa.toml") as running:
        reply = running.stamp(encode_request(b"the document"))
        reloaded = timestamp_server("reload", "--config", tmp_path / "tsa" / "tsa.toml")
        assert (reloaded.returncode, reloaded.stdout.split(":")[0]) == (0, "reloaded"), reloaded.stderr
    trust = TrustStore.from_chain((tmp_path / "tsa" / "root.pem").read_bytes())
    verify_response(reply.body, artifact=b"the document", trust=trust)


def test_openssl_accepts_the_chain(tmp_path: Path) -> None:
    init(tmp_path / "tsa", *PUBLISHED)
    openssl = require_program("openssl")
    command: list[str | Path] = [
        openssl,
        "verify",
        "-x509_strict",
        "-purpose",
        "timestampsign",
        "-CAfile",
        tmp_path / "tsa" / "root.pem",
    ]
    command += ["-untrusted", tmp_path / "tsa" / "chain.pem", tmp_path / "tsa" / "chain.pem"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.strip().endswith(": OK"), result.stderr


@pytest.mark.parametrize("algorithm", ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-3072", "ed25519", "ed448"])
def test_every_algorithm_makes_a_chain_with_which_the_server_starts(tmp_path: Path, algorithm: str) -> None:
    assert init(tmp_path / "tsa", "--algorithm", algorithm).exit_code == 0
    with Service(load_settings(tmp_path / "tsa" / "tsa.toml", environ={})) as service:
        [profile] = service.authority.profiles.values()
        assert len(profile.chain.certificates) == 3
    result = timestamp_server("check-chain", tmp_path / "tsa" / "chain.pem", "--profile", "sigstore")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(("algorithm", "said"), [("ecdsa-p256", False), ("ed25519", True), ("ml-dsa-65", True)])
def test_it_says_who_does_not_verify_the_newer_algorithms(tmp_path: Path, algorithm: str, said: bool) -> None:
    result = timestamp_server("init", tmp_path / "tsa", "--algorithm", algorithm)
    assert result.returncode == 0
    assert (f"do not verify {algorithm};" in " ".join(result.stderr.split())) is said


@pytest.mark.parametrize("algorithm", ["ecdsa-p256", "rsa-3072"])
def test_with_addresses_and_policy_the_chain_passes_every_profile(tmp_path: Path, algorithm: str) -> None:
    init(tmp_path / "tsa", "--algorithm", algorithm, "--org", "Example Ltd", "--country", "DE", *PUBLISHED)
    profiles = [f"--profile={name}" for name in ("etsi", "csbr", "sigstore", "acrobat")]
    config = tmp_path / "tsa" / "tsa.toml"
    result = timestamp_server(
        "check-chain", tmp_path / "tsa" / "chain.pem", "--key", "file:tsa.key", "--config", config, *profiles
    )
    assert result.returncode == 0, result.stdout
    assert "not judged" not in result.stdout


def test_nobody_else_can_read_what_is_secret(tmp_path: Path) -> None:
    os.umask(previous := os.umask(0))
    try:
        os.umask(0)
        init(tmp_path / "tsa")
    finally:
        os.umask(previous)
    found = modes(tmp_path / "tsa")
    public = {"chain.pem", "root.pem", "offline/chain.pem"}
    assert {name: oct(mode) for name, mode in found.items() if name not in public} == {
        "tsa.toml": "0o600",
        "tsa.key": "0o600",
        "tsa.password": "0o600",
        "offline": "0o700",
        "offline/root.key": "0o600",
        "offline/intermediate.key": "0o600",
        "offline/password": "0o600",
        "offline/offline.toml": "0o600",
    }
    assert {found[name] for name in public} == {0o644}
    assert stat.S_IMODE((tmp_path / "tsa").stat().st_mode) == 0o700


def test_keys_are_encrypted_and_their_passwords_shown_nowhere(tmp_path: Path) -> None:
    result = init(tmp_path / "tsa")
    for key, password in (
        ("tsa.key", "tsa.password"),
        ("offline/root.key", "offline/password"),
        ("offline/intermediate.key", "offline/password"),
    ):
        data, secret = (tmp_path / "tsa" / key).read_bytes(), (tmp_path / "tsa" / password).read_text().strip()
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in data
        load_pem_private_key(data, secret.encode())
        assert len(secret) >= 32
        assert secret not in result.output + (tmp_path / "tsa" / "tsa.toml").read_text()
    texts = {(tmp_path / "tsa" / name).read_text() for name in ("tsa.password", "offline/password")}
    assert len(texts) == 2


def test_it_says_where_the_roots_key_is_and_that_it_must_go(tmp_path: Path) -> None:
    result = init(tmp_path / "tsa")
    assert f"The keys of root and intermediate are in {tmp_path / 'tsa' / 'offline'}" in result.stderr
    assert "move that directory" in result.stderr
    assert f"timestamp-server serve --config {tmp_path / 'tsa' / 'tsa.toml'}" in result.stderr


def test_the_certificates_say_what_was_asked_for(tmp_path: Path) -> None:
    init(tmp_path / "tsa", "--org", "Example Ltd", "--country", "de", "--common-name", "TSU 7", *PUBLISHED)
    leaf, intermediate, root = load_chain(tmp_path / "tsa" / "chain.pem").certificates
    assert leaf.subject.rfc4514_string() == "CN=TSU 7,O=Example Ltd,C=DE"
    assert intermediate.subject.rfc4514_string() == "CN=TSU 7 Intermediate,O=Example Ltd,C=DE"
    assert root.issuer == root.subject
    addresses = [
        [name.value for point in points.value for name in point.full_name or ()]
        for certificate in (leaf, intermediate)
        for points in [certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints)]
    ]
    assert addresses == [["http://pki.example.com/intermediate.crl"], ["http://pki.example.com/root.crl"]]
    period = leaf.extensions.get_extension_for_class(x509.PrivateKeyUsagePeriod).value
    assert period.not_after is not None
    assert period.not_before is not None
    assert (period.not_after - period.not_before).days == 396


def test_a_password_from_the_environment_is_written_nowhere(tmp_path: Path) -> None:
    secret = "correct horse battery"
    result = init(tmp_path / "tsa", "--password-env", "TSA_KEY_PASSWORD", environ={"TSA_KEY_PASSWORD": secret})
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "tsa" / "tsa.password").exists()
    assert all(secret not in path.read_text() for path in (tmp_path / "tsa").rglob("*") if path.is_file())
    load_pem_private_key((tmp_path / "tsa" / "tsa.key").read_bytes(), secret.encode())
    table = tomllib.loads((tmp_path / "tsa" / "tsa.toml").read_text())
    assert table["signer"]["file"]["password"] == {"env": "TSA_KEY_PASSWORD"}


def test_a_kubernetes_secret_has_what_the_server_needs_and_no_key_of_a_ca(tmp_path: Path) -> None:
    made = timestamp_server("init", tmp_path / "tsa", "--org", "Example", "--kubernetes-secret", "tsa-server-secret")
    assert made.returncode == 0, made.stderr
    path = tmp_path / "tsa" / "secret.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    entries = dict(line.strip().split(": ", 1) for line in path.read_text().splitlines() if ": " in line)
    assert json.loads(entries["name"]) == "tsa-server-secret"
    for name, file in (("private", "tsa.key"), ("password", "tsa.password"), ("chain", "chain.pem")):
        assert json.loads(entries[name]).strip() == (tmp_path / "tsa" / file).read_text().strip()
    assert path.read_text().count("PRIVATE KEY-----") == 2  # begin and end of one


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "tsa").mkdir()
    assert init(tmp_path / "tsa").exit_code == 0


def test_a_directory_with_anything_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tsa").mkdir()
    (tmp_path / "tsa" / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="it exists already and is not empty"):
        init(tmp_path / "tsa")
    assert (tmp_path / "tsa" / "mine").read_text() == "mine"
    with pytest.raises(ConfigError, match="the directory cannot be made: Not a directory"):
        init(tmp_path / "tsa" / "mine" / "below")


def test_what_was_written_goes_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="nosuch"):
        init(tmp_path / "tsa", "--key", "nosuch:key")
    assert not (tmp_path / "tsa").exists()


def test_a_key_that_exists_is_certified(tmp_path: Path) -> None:
    init(tmp_path / "first")
    password = tmp_path / "first" / "tsa.password"
    key = tmp_path / "first" / "tsa.key"
    environ = {"TSA_SIGNER__FILE__PASSWORD": password.read_text().strip()}
    result = init(tmp_path / "second", "--key", f"file:{key}", environ=environ)
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "second").iterdir()} == {"tsa.toml", "chain.pem", "root.pem", "offline"}
    first, second = (load_chain(tmp_path / name / "chain.pem").leaf for name in ("first", "second"))
    assert first.public_key() == second.public_key()


def test_settings_of_the_signer_go_into_the_configuration(tmp_path: Path) -> None:
    init(tmp_path / "first")
    result = init(
        tmp_path / "second",
        *("--key", f"file:{tmp_path / 'first' / 'tsa.key'}"),
        *("--signer-setting", f"password={(tmp_path / 'first' / 'tsa.password').read_text().strip()}"),
    )
    assert result.exit_code == 0, result.output
    with Service(load_settings(tmp_path / "second" / "tsa.toml", environ={})):
        pass


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--country", "Germany"], "is no country"),
        (["--crl-url", "http://pki.example.com/ca.crl"], "write {issuer} for their name"),
        (["--signer-setting", "module=x"], "is for the signer that --key names"),
        (["--key", "file:x", "--signer-setting", "nothing"], "--signer-setting is NAME=VALUE"),
        (["--key", "file:x", "--password-env", "X"], "--password-env is for the key that is made here"),
        (["--key", "file:x", "--kubernetes-secret", "x"], "--kubernetes-secret holds the key that is made here"),
        (["--kubernetes-secret", "Not A Name"], "names no Secret"),
    ],
)
def test_flags_that_cannot_be_are_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = init(tmp_path / "tsa", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "tsa").exists()


def test_a_password_variable_that_is_not_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE is not set"):
        init(tmp_path / "tsa", "--password-env", "NO_SUCH_VARIABLE")


def test_nothing_is_asked_without_a_terminal(tmp_path: Path) -> None:
    result = timestamp_server("init", tmp_path / "tsa")
    assert result.returncode == 0, result.stderr
    assert "Organization" not in result.stderr


def test_the_next_certificate_is_issued_offline_for_a_request(tmp_path: Path) -> None:
    init(tmp_path / "tsa", "--org", "Example Ltd")
    (tmp_path / "tsa" / "offline").rename(tmp_path / "away")
    init(tmp_path / "other")
    environ = {"TSA_SIGNER__FILE__PASSWORD": (tmp_path / "other" / "tsa.password").read_text().strip()}
    key, request = tmp_path / "other" / "tsa.key", tmp_path / "tsa.csr"
    fetch(
        *("--leaf-kms-resource", f"file:{key}", "--org-name", "Example Ltd", "--common-name", "TSU 2"),
        *("--csr-out", request),
        environ=environ,
    )
    fetch(
        *("--config", tmp_path / "away" / "offline.toml", "--parent-kms-resource", "file:intermediate.key"),
        *("--parent-chain", tmp_path / "away" / "chain.pem", "--csr-in", request),
        *("--leaf-validity", 3650, "--private-key-days", 396, "--output", tmp_path / "chain.pem"),
    )
    old, new = (load_chain(path).certificates for path in (tmp_path / "tsa" / "chain.pem", tmp_path / "chain.pem"))
    assert new[1:] == old[1:]
    assert new[0].subject.rfc4514_string() == "CN=TSU 2,O=Example Ltd"
    assert 3649 <= (new[0].not_valid_after_utc - new[0].not_valid_before_utc).days <= 3650
    result = timestamp_server(
        *("check-chain", tmp_path / "chain.pem", "--key", "file:tsa.key"),
        *("--config", tmp_path / "other" / "tsa.toml"),
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_request_that_was_changed_is_refused(tmp_path: Path) -> None:
    init(tmp_path / "tsa")
    environ = {"TSA_SIGNER__FILE__PASSWORD": (tmp_path / "tsa" / "tsa.password").read_text().strip()}
    request = tmp_path / "tsa.csr"
    fetch("--leaf-kms-resource", f"file:{tmp_path / 'tsa' / 'tsa.key'}", "--csr-out", request, environ=environ)
    encoded = x509.load_pem_x509_csr(request.read_bytes()).public_bytes(Encoding.DER)
    request.write_bytes(encoded[:-1] + bytes((encoded[-1] ^ 1,)))
    with pytest.raises(ConfigError, match=r"tsa\.csr: the certification request"):
        fetch(
            *("--config", tmp_path / "tsa" / "offline" / "offline.toml"),
            *("--parent-kms-resource", "file:intermediate.key", "--csr-in", request),
            *("--parent-chain", tmp_path / "tsa" / "offline" / "chain.pem", "--output", tmp_path / "chain.pem"),
        )


def test_on_a_terminal_it_asks_for_the_names_that_are_missing(tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "tsa_core.cli.server", "init", str(tmp_path / "tsa")]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True)
    os.close(terminal)
    try:
        # A terminal keeps what is typed ahead.
        os.write(controller, b"Typed Ltd\nfr\nuuid\n")
        shown = _read_all(controller)
        assert process.wait(60) == 0, shown
    finally:
        process.kill()
        process.wait()
        os.close(controller)
    assert "Organization" in shown
    assert "Country" in shown
    assert "Every token states the OID of the policy" in shown
    subject = load_chain(tmp_path / "tsa" / "chain.pem").leaf.subject.rfc4514_string()
    assert subject == "CN=Timestamp Authority,O=Typed Ltd,C=FR"
    assert re.search(r'^policies = \["2\.25\.\d{30,39}"\]$', (tmp_path / "tsa" / "tsa.toml").read_text(), re.MULTILINE)


def _read_all(descriptor: int) -> str:
    """Return what a terminal shows until its program ends; the test's time limit bounds it."""
    shown = b""
    while True:
        try:
            data = os.read(descriptor, 4096)
        except OSError:  # EIO, which is how Linux says that nobody holds the other end
            return shown.decode(errors="replace")
        if not data:
            return shown.decode(errors="replace")
        shown += data


@pytest.mark.plugin("pkcs11")
def test_a_key_in_a_pkcs11_token_is_certified_and_serves(tmp_path: Path, softhsm: SoftHsm) -> None:
    public_key = softhsm.make_key(softhsm.make_token("init"), "tsa")
    pin = tmp_path / "pin"
    pin.write_text(f"{PIN}\n")
    result = init(
        tmp_path / "tsa",
        *("--key", f"pkcs11:token=init;object=tsa?pin-source={pin}"),
        *("--signer-setting", f"module={softhsm.module}"),
    )
    assert result.exit_code == 0, result.output
    assert PIN not in result.output + (tmp_path / "tsa" / "tsa.toml").read_text()
    assert load_chain(tmp_path / "tsa" / "chain.pem").leaf.public_key() == public_key
    with ServerProcess(tmp_path / "tsa" / "tsa.toml", environ=dict(softhsm.environment)) as running:
        reply = running.stamp(encode_request(b"in a token"))
    trust = TrustStore.from_chain((tmp_path / "tsa" / "root.pem").read_bytes())
    verify_response(reply.body, artifact=b"in a token", trust=trust)
