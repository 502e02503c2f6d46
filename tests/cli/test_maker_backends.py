"""certificate-maker over real backends: one chain of keys in a token, a transit engine and a KMS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tsa_backends.kms_program import KmsProgram
from tsa_backends.ministack import REGION, SECRET_KEY, Ministack
from tsa_backends.openbao import ROOT_TOKEN, OpenBao
from tsa_backends.softhsm import PIN, SoftHsm
from tsa_backends.timestamp_server import run
from tsa_core.certs import load_certificates
from tsa_core.testing import check_path_with_openssl, require_program


@pytest.mark.plugin("awskms", "hashivault", "pkcs11")
def test_a_root_in_a_token_an_intermediate_in_a_vault_and_a_leaf_in_a_kms(
    softhsm: SoftHsm, openbao: OpenBao, ministack: Ministack, tmp_path: Path
) -> None:
    """The server takes the leaf's chain with the very tsa.toml, whose table of the token it does not read."""
    softhsm.make_key(softhsm.make_token("vault of the root"), "root", "ecdsa-p384")
    issuing, alias = openbao.make_key("maker-issuing", "rsa-2048"), "alias/maker-leaf"
    ministack.make_key(alias=alias)
    (tmp_path / "pin").write_text(PIN)
    config = tmp_path / "tsa.toml"
    config.write_text(
        f'[profiles.default]\nsigner = "awskms:///{alias}"\ncertificate_chain = "chain.pem"\n'
        f'[signer.awskms]\nendpoint_url = "{ministack.address}"\nregion = "{REGION}"\n'
        f'[certificate_signer.pkcs11]\nmodule = "{softhsm.module}"\npin = {{ file = "pin" }}\n'
    )
    environment = {
        **softhsm.environment,
        "VAULT_ADDR": openbao.address,
        "VAULT_TOKEN": ROOT_TOKEN,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "HOME": str(tmp_path),
    }
    outputs = {f"--{role}-cert": tmp_path / f"{role}.pem" for role in ("root", "intermediate", "leaf")}
    made = run(
        [
            *("create", "tsa.example.com", "--config", config, "--chain", tmp_path / "chain.pem"),
            *("--root-key-id", "pkcs11:token=vault%20of%20the%20root;object=root"),
            *("--intermediate-key-id", f"hashivault://{issuing}", "--leaf-key-id", alias, "--kms-type", "awskms"),
            *(word for output in outputs.items() for word in output),
        ],
        environment,
        program="certificate-maker",
    )
    assert made.returncode == 0, made.stderr
    for secret in (PIN, ROOT_TOKEN, SECRET_KEY):
        assert secret not in made.stdout + made.stderr
    chain = load_certificates(tmp_path / "chain.pem")
    assert [certificate.signature_algorithm_oid._name for certificate in chain] == [
        "sha256WithRSAEncryption",
        "ecdsa-with-SHA384",
        "ecdsa-with-SHA384",
    ]
    check_path_with_openssl(chain, tmp_path)
    checked = run(["check", "--config", config], environment)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.plugin("cliplugin", "file")
def test_a_program_of_sigstores_kms_protocol_issues_and_is_the_type_of_all_keys(tmp_path: Path) -> None:
    require_program("openssl")
    program = KmsProgram(tmp_path)
    for kind in ("ecdsa-p384", "ecdsa-p256"):
        program.make_key(kind)
    made = run(
        [
            *("create", "tsa", "--kms-type", "demo", "--root-key-id", "ecdsa-p384", "--leaf-key-id", "ecdsa-p256"),
            *("--root-cert", tmp_path / "root.pem", "--leaf-cert", tmp_path / "leaf.pem"),
        ],
        {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        program="certificate-maker",
    )
    assert made.returncode == 0, made.stderr
    chain = [*load_certificates(tmp_path / "leaf.pem"), *load_certificates(tmp_path / "root.pem")]
    check_path_with_openssl(chain, tmp_path)


@pytest.mark.plugin("hashivault")
def test_a_backend_that_refuses_leaves_no_file(openbao: OpenBao, tmp_path: Path) -> None:
    key = openbao.make_key("maker-refused")
    made = run(
        [
            *("create", "tsa", "--kms-type", "hashivault", "--root-key-id", key, "--leaf-key-id", "no-such-key"),
            *("--root-cert", tmp_path / "root.pem", "--leaf-cert", tmp_path / "leaf.pem"),
            *("--vault-address", openbao.address, "--vault-token", ROOT_TOKEN),
        ],
        {"HOME": str(tmp_path)},
        program="certificate-maker",
    )
    assert made.returncode == 2
    warning, error = made.stderr.splitlines()
    assert warning.startswith("--vault-token shows the token to everybody")
    assert "--leaf-key-id: " in error
    assert "no-such-key" in error
    assert ROOT_TOKEN not in made.stderr
    assert list(tmp_path.iterdir()) == []
