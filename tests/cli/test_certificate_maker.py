"""certificate-maker: chains from templates, with the flags of Sigstore's Certificate Maker."""

from __future__ import annotations

import errno
import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tsa_backends.commands import run_command
from tsa_core.api import ConfigError, LocalKeySigner, SignerError, TsaError
from tsa_core.certs import load_certificates
from tsa_core.certs.maker import default_template
from tsa_core.cli.certificate_maker import certificate_maker
from tsa_core.cli.fetch_tsa_certs import fetch_tsa_certs
from tsa_core.cli.output_file import write_files
from tsa_core.conformance.chains import ChainCase, Outcome, judge
from tsa_core.testing import Pki, check_path_with_openssl, shared_key, write_pem

pytestmark = pytest.mark.plugin("file")

KINDS = {"root": "ecdsa-p384", "intermediate": "ecdsa-p521", "leaf": "ecdsa-p256"}
Make = Callable[..., Result]


def write_key(path: Path, kind: str, password: bytes | None = None) -> str:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    path.write_bytes(shared_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    path.chmod(0o600)
    return f"file:{path}"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """The command in a folder of its own, for keys of these roles."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, roles: str = "root intermediate leaf", name: str = "tsa.example.com") -> Result:
        for role in roles.split():
            arguments = (f"--{role}-key-id", write_key(tmp_path / f"{role}.key", KINDS[role]), *arguments)
        words = ["create", *([name] if name else []), *map(str, arguments)]
        return CliRunner().invoke(certificate_maker, words, catch_exceptions=False)

    return run


def certificates_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".key"}


def chain_of(*names: str) -> Any:
    return [certificate for name in names for certificate in load_certificates(Path(name))]


def test_three_keys_make_a_chain_that_every_judge_accepts(make: Make, tmp_path: Path) -> None:
    result = make("--chain", "chain.pem", "--leaf-lifetime", "720h")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "Saved root cert to root.pem",
        "Saved intermediate cert to intermediate.pem",
        "Saved leaf cert to leaf.pem",
        "Saved chain to chain.pem",
    ]
    chain = load_certificates(tmp_path / "chain.pem")
    assert list(chain) == chain_of("leaf.pem", "intermediate.pem", "root.pem")
    assert {stat.S_IMODE(Path(f"{name}.pem").stat().st_mode) for name in (*KINDS, "chain")} == {0o644}
    assert [certificate.subject.rfc4514_string() for certificate in chain] == [
        "CN=tsa.example.com",
        "CN=tsa.example.com Intermediate",
        "CN=tsa.example.com Root",
    ]
    lengths = [certificate.not_valid_after_utc - certificate.not_valid_before_utc for certificate in chain]
    assert lengths == [timedelta(days=30), timedelta(days=1825), timedelta(days=3650)]
    findings = judge(ChainCase(certificates=chain, at=datetime.now(UTC)))
    assert {finding.outcome for finding in findings} == {Outcome.PASS, Outcome.NOT_JUDGED}
    check_path_with_openssl(chain, tmp_path)


def test_without_an_intermediate_the_root_issues(make: Make, tmp_path: Path) -> None:
    assert make(roles="root leaf").exit_code == 0
    assert certificates_in(tmp_path) == {"root.pem", "leaf.pem"}
    check_path_with_openssl(chain_of("leaf.pem", "root.pem"), tmp_path)


def test_without_a_leaf_the_authorities_are_made_and_judged(make: Make, tmp_path: Path) -> None:
    assert make(roles="root intermediate").exit_code == 0
    assert certificates_in(tmp_path) == {"root.pem", "intermediate.pem"}
    (tmp_path / "no-ca.json").write_text('{"subject": "x", "extKeyUsage": "timeStamping"}')
    for role in ("root", "intermediate"):
        with pytest.raises(TsaError, match=r"authorities-are-cas: .* is no CA's"):
            make(f"--{role}-template", "no-ca.json", f"--{role}-cert", "new.pem", roles="root intermediate")
    assert not Path("new.pem").exists()


def test_a_new_leaf_under_certificates_that_exist(make: Make, tmp_path: Path) -> None:
    assert make("--leaf-cert", "first.pem").exit_code == 0
    before = chain_of("intermediate.pem", "root.pem")
    existing = ("--existing-root-cert", "root.pem", "--existing-intermediate-cert", "intermediate.pem")
    for roles in ("root intermediate leaf", "intermediate leaf"):
        result = make(*existing, "--chain", "chain.pem", roles=roles)
        assert result.exit_code == 0, result.output
        assert "Loaded existing root cert from root.pem\n" in result.stdout
        assert list(load_certificates(Path("chain.pem"))) == chain_of("leaf.pem", "intermediate.pem", "root.pem")
    assert chain_of("intermediate.pem", "root.pem") == before
    result = make("--existing-root-cert", "root.pem", "--intermediate-cert", "second.pem")
    assert result.exit_code == 0, result.output
    check_path_with_openssl(chain_of("leaf.pem", "second.pem", "root.pem"), tmp_path)


def test_a_certificate_that_exists_must_be_for_the_key(make: Make, tmp_path: Path) -> None:
    pki = Pki()
    write_pem(tmp_path / "other.pem", [pki.root])
    with pytest.raises(ConfigError, match="--existing-root-cert: the certificate is not for the key of --root-key-id"):
        make("--existing-root-cert", "other.pem", roles="root leaf")
    write_pem(tmp_path / "two.pem", [pki.root, pki.root])
    with pytest.raises(ConfigError, match=r"two.pem: 2 certificates are in this file; the root's alone is needed"):
        make("--existing-root-cert", "two.pem", roles="root leaf")


def test_the_published_intermediate_without_timestamping_is_for_servers_that_do_not_demand_it(make: Make) -> None:
    """So is the reference's template, and its own server refuses the chain."""
    fields = json.loads(default_template("intermediate"))
    del fields["extKeyUsage"]
    Path("published.json").write_text(json.dumps(fields))
    with pytest.raises(TsaError, match="--enforce-intermediate-eku=false, to the server too") as caught:
        make("--intermediate-template", "published.json")
    assert str(caught.value).startswith("intermediates-usage-timestamping: ")
    assert str(caught.value).endswith("nothing was written, because no server could issue with this chain")
    assert not Path("root.pem").exists()
    assert make("--intermediate-template", "published.json", "--enforce-intermediate-eku=false").exit_code == 0


def test_a_chain_of_post_quantum_and_classical_keys_is_refused_on_request(make: Make, tmp_path: Path) -> None:
    quantum = {role: write_key(tmp_path / f"{role}.pq.key", f"ml-dsa-{size}") for role, size in
               (("root", 87), ("intermediate", 65), ("leaf", 44))}  # fmt: skip
    keys = [word for role, uri in quantum.items() for word in (f"--{role}-key-id", uri)]
    with pytest.raises(
        ConfigError, match=r"mix post-quantum and classical keys \(root: EC secp384r1, leaf: ML-DSA-44\)"
    ):
        make("--refuse-mixed-keys", "--leaf-key-id", quantum["leaf"], roles="root")
    assert certificates_in(tmp_path) == set()
    assert make("--refuse-mixed-keys", *keys, roles="").exit_code == 0
    assert make("--leaf-key-id", quantum["leaf"], roles="root").exit_code == 0


def test_fetch_tsa_certs_refuses_mixed_keys_on_request_too(tmp_path: Path) -> None:
    quantum = write_key(tmp_path / "pq.key", "ml-dsa-65")
    classical, output = write_key(tmp_path / "ec.key", "ecdsa-p256"), tmp_path / "chain.pem"
    flags = ("--leaf-kms-resource", quantum, "--refuse-mixed-keys", "--output", str(output))
    with pytest.raises(
        ConfigError, match=r"mix post-quantum and classical keys \(parent: EC secp256r1, leaf: ML-DSA-65"
    ):
        CliRunner().invoke(fetch_tsa_certs, [*flags, "--parent-kms-resource", classical], catch_exceptions=False)
    pki = Pki()
    issued = pki.issue(shared_key("ml-dsa-65").public_key())
    files = write_pem(tmp_path / "issued.pem", pki.chain(issued))
    with pytest.raises(ConfigError, match=r"keys \(1\. certificate 'CN=.*: ML-DSA-65, 2\. certificate"):
        CliRunner().invoke(fetch_tsa_certs, [*flags, "--chain-in", str(files)], catch_exceptions=False)
    assert not output.exists()
    pure = write_key(tmp_path / "pq2.key", "ml-dsa-87")
    made = CliRunner().invoke(fetch_tsa_certs, [*flags, "--parent-kms-resource", pure], catch_exceptions=False)
    assert made.exit_code == 0, made.output


def test_one_key_for_two_certificates_is_refused(make: Make, tmp_path: Path) -> None:
    key = write_key(tmp_path / "again.key", KINDS["root"])
    with pytest.raises(ConfigError, match="the root's key and the leaf's are one key"):
        make("--leaf-key-id", key, roles="root")


def test_each_key_may_have_settings_of_its_own(make: Make, tmp_path: Path) -> None:
    """Two encrypted keys with two passwords; a table of the configuration has one for all."""
    (tmp_path / "root.password").write_text("one\n")
    (tmp_path / "tsa.toml").write_text('[certificate_signer.file]\npassword = "two"\n')
    root = write_key(tmp_path / "r.key", "ecdsa-p384", b"one")
    leaf = write_key(tmp_path / "l.key", "ecdsa-p256", b"two")
    setting = ("--root-setting", 'password={ file = "root.password" }')
    result = make(*setting, "--config", "tsa.toml", "--root-key-id", root, "--leaf-key-id", leaf, roles="")
    assert result.exit_code == 0, result.output
    for wrong in ("password", "password={ file = ", "Pass=hunter2"):
        refused = make("--root-setting", wrong, "--root-key-id", root, "--leaf-key-id", leaf, roles="")
        assert refused.exit_code == 2
        assert "--root-setting" in refused.stderr
        assert "hunter2" not in refused.output


def test_a_signature_that_does_not_verify_leaves_no_file(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = LocalKeySigner.sign
    calls: list[bytes] = []

    def break_the_third(self: LocalKeySigner, message: bytes, *, timeout: float) -> bytes:
        calls.append(message)
        return sign(self, message if len(calls) < 3 else b"another message", timeout=timeout)

    monkeypatch.setattr(LocalKeySigner, "sign", break_the_third)
    with pytest.raises(SignerError, match="does not verify under the signer's public key"):
        make()
    assert len(calls) == 3
    assert certificates_in(tmp_path) == set()


def test_what_the_environment_says_is_read_as_the_reference_reads_it_and_named(tmp_path: Path) -> None:
    environ = {
        "KMS_TYPE": "file",
        "KMS_ROOT_KEY_ID": write_key(tmp_path / "root.key", "ecdsa-p384").partition(":")[2],
        "LEAF_KEY_ID": write_key(tmp_path / "leaf.key", "ecdsa-p256"),
        "LEAF_CERT": "named.pem",
        "INTERMEDIATE_CERT": "no effect, and no error: a variable may be for another run",
        "LEAF_LIFETIME": "100h",
    }
    done = run_command(
        "create", "tsa", "--root-cert", "r.pem", program="certificate-maker", cwd=tmp_path, environ=environ
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == (
        "read from the environment: INTERMEDIATE_CERT, KMS_TYPE, LEAF_CERT, LEAF_KEY_ID, LEAF_LIFETIME, KMS_ROOT_KEY_ID"
    )
    assert certificates_in(tmp_path) == {"r.pem", "named.pem"}
    broken = run_command(
        *("create", "tsa", "--leaf-template", "l.json"),
        program="certificate-maker", cwd=tmp_path, environ=environ,
    )  # fmt: skip
    assert broken.returncode == 2
    [line] = broken.stderr.splitlines()
    assert line.startswith("certificate-maker: error: l.json: the template cannot be read: No such file or directory")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--leaf-key-id file:l", "--root-key-id is missing, the key that issues"),
        ("--root-key-id r", "--root-key-id: write a key URI, whose scheme names the plugin"),
        ("--root-key-id file:r --existing-root-cert c", "there is nothing to make; give --leaf-key-id"),
        ("--root-key-id file:r --leaf-key-id file:l --existing-intermediate-cert c", "needs --existing-root-cert"),
        ("--leaf-key-id file:l --existing-root-cert c --existing-intermediate-cert c", "-key-id is missing"),
        ("--root-key-id file:r --leaf-cert l.pem", "--leaf-cert has no effect with no --leaf-key-id"),
        ("--root-key-id file:r --leaf-setting a=b", "--leaf-setting has no effect with no --leaf-key-id"),
        ("--root-key-id file:r --leaf-key-id file:l --existing-root-cert c --root-template t",
         "--root-template has no effect with --existing-root-cert"),
        ("--root-key-id file:r --leaf-key-id file:l --vault-token hunter2", "no key is in hashivault or openbao"),
        ("--root-key-id file:r --aws-region eu", "--aws-region has no effect: no key is in awskms"),
        ("--root-key-id file:r --kms-type awskms", "--kms-type awskms has no effect: every key is written as"),
        ("--root-key-id file:r --leaf-key-id file:l --enforce-intermediate-eku=false", "has no effect without"),
        ("--root-key-id file:r --chain c.pem", "--chain has no effect without --leaf-key-id"),
        ("--root-key-id file:r --leaf-key-id file:l --root-cert x --leaf-cert ./x", "--root-cert name one file"),
        ("--root-key-id file:r --root-lifetime 1m", "10 minutes at least"),
        ("--root-key-id file:r --root-lifetime soon", "'soon' is not a duration"),
        ("--root-key-id azurekms:name=a", "write azurekms:name=NAME;vault=VAULT"),
    ],
)  # fmt: skip
def test_flags_that_are_missing_or_have_no_effect_are_a_usage_error(make: Make, arguments: str, message: str) -> None:
    result = make(*arguments.split(), roles="")
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert "hunter2" not in result.output


def test_default_templates_need_a_name(make: Make) -> None:
    result = make(name="", roles="root")
    assert result.exit_code == 2
    assert "COMMON-NAME is missing, or --root-template" in result.stderr
    Path("root.json").write_text('{"subject": "Acme", "basicConstraints": {"isCA": true}, "keyUsage": "certSign"}')
    assert make("--root-template", "root.json", name="", roles="root").stderr == ""
    unused = make("--root-template", "root.json", roles="root")
    assert unused.stderr == (
        "COMMON-NAME 'tsa.example.com' is in no certificate: no template has .Subject.CommonName\n"
    )


def test_an_output_never_takes_the_place_of_an_input(make: Make, tmp_path: Path) -> None:
    for output in ("root.key", "leaf.json"):
        (tmp_path / "leaf.json").write_text(default_template("leaf"))
        result = make("--leaf-template", "leaf.json", "--leaf-cert", output)
        assert result.exit_code == 2
        assert "writing it would destroy that" in " ".join(result.stderr.split())
    with pytest.raises(ConfigError, match="there is no such folder"):
        make("--leaf-cert", "no/leaf.pem")


@pytest.mark.parametrize("links", [True, False])
def test_several_files_are_written_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    old, new, blocked = tmp_path / "old", tmp_path / "new", tmp_path / "blocked"
    old.write_bytes(b"former")
    old.chmod(0o640)
    replace = Path.replace

    def fail_at_the_last(self: Path, target: Path) -> Path:
        if target == blocked:
            raise OSError(errno.EIO, "Input/output error")
        return replace(self, target)

    def refuse(self: Path, target: Path) -> None:
        target.stat()
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", fail_at_the_last)
        with pytest.raises(ConfigError, match="blocked: the file cannot be written: Input/output error"):
            write_files([(old, b"a"), (new, b"b"), (blocked, b"c")])
    assert {path.name for path in tmp_path.iterdir()} == {"old"}
    assert (old.read_bytes(), stat.S_IMODE(old.stat().st_mode)) == (b"former", 0o640)
    write_files([(old, b"a"), (new, b"b")], mode=0o644)
    assert [path.read_bytes() for path in (old, new)] == [b"a", b"b"]
    assert {path.name for path in tmp_path.iterdir()} == {"old", "new"}


@pytest.mark.parametrize("role", ["root", "intermediate", "leaf"])
def test_template_prints_what_is_used_without_one(make: Make, role: str) -> None:
    printed = CliRunner().invoke(certificate_maker, ["template", role])
    assert printed.stdout == default_template(role)  # type: ignore[arg-type] # one of the three
    Path("t.json").write_text(printed.stdout)
    assert make(f"--{role}-template", "t.json").exit_code == 0
