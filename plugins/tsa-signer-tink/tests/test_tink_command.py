"""`timestamp-server tink create-keyset`: what it makes opens with Tink itself, and what it refuses is one line."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tink
from tink import secret_key_access, signature
from tink.proto import tink_pb2

from tsa_backends.openbao import ROOT_TOKEN
from tsa_backends.timestamp_server import run
from tsa_backends.tink_keks import Kek
from tsa_core.cli.server import main
from tsa_core.host import PluginHost
from tsa_signer_tink.command import TEMPLATES
from tsa_signer_tink.options import TinkOptions
from tsa_signer_tink.plugin import tsa_signers

MESSAGE = b"a message"


class Result(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Type = Callable[..., Result]


@pytest.fixture
def type_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """Return a function that runs timestamp-server in this process, as a terminal would; starting many takes long."""

    def run_command(arguments: Sequence[str | Path], environment: Mapping[str, str]) -> Result:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["timestamp-server", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main()
        shown = capsys.readouterr()
        return Result(int(str(ended.value.code)), shown.out, shown.err)

    return run_command


@pytest.fixture
def create_keyset(type_command: Type) -> Type:
    def create(
        kek: Kek,
        out: Path,
        *arguments: str | Path,
        template: str = "ECDSA_P256",
        uri: str | None = None,
        **environment: str,
    ) -> Result:
        command = ["tink", "create-keyset", "--key-template", template, "--out", str(out)]
        command += ["--master-key-uri", uri or kek.uri]
        return type_command([*command, *arguments], {**kek.environment, **environment})

    return create


def assert_signs_as(handle: Any, path: Path, kek: Kek) -> None:
    """Check that our signer signs with the key that Tink finds in the keyset."""
    (provider,) = tsa_signers()
    table = {"uri": f"tink:{path}", "key_resource": kek.uri, **kek.settings}
    signer = provider.open(TinkOptions.model_validate(table), open_kek=PluginHost().open_kek)
    prefix = b"\x01" + handle.keyset_info().primary_key_id.to_bytes(4, "big")
    verifier = handle.public_keyset_handle().primitive(signature.PublicKeyVerify)
    verifier.verify(prefix + signer.sign(MESSAGE, timeout=5), MESSAGE)


@pytest.mark.parametrize("out_format", ["json", "binary"])
def test_keyset_opens_with_tinks_own_integrations_and_with_ours(
    kek: Kek, tmp_path: Path, create_keyset: Type, out_format: str
) -> None:
    path = tmp_path / "enc-keyset.cfg"
    result = create_keyset(kek, path, "--out-format", out_format, template="ECDSA_P384_SHA384")
    assert result.returncode == 0, result.stderr
    handle = kek.read_keyset(path, binary=out_format == "binary")
    key_id = handle.keyset_info().primary_key_id
    assert result.stdout == f"Wrote {path}: EC secp384r1, key {key_id}, encrypted by {kek.uri}\n"
    assert result.stderr == ""
    assert_signs_as(handle, path, kek)
    made = handle.primitive(signature.PublicKeySign).sign(MESSAGE)
    handle.public_keyset_handle().primitive(signature.PublicKeyVerify).verify(made, MESSAGE)


def test_program_itself_makes_a_keyset(vault: Kek, tmp_path: Path) -> None:
    path = tmp_path / "enc-keyset.cfg"
    command = ["tink", "create-keyset", "--key-template", "ED25519", "--out", str(path), "--master-key-uri", vault.uri]
    result = run(command, vault.environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert_signs_as(vault.read_keyset(path), path, vault)


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_makes_a_key_of_its_kind(vault: Kek, tmp_path: Path, create_keyset: Type, template: str) -> None:
    path = tmp_path / "enc-keyset.cfg"
    result = create_keyset(vault, path, template=template)
    assert result.returncode == 0, result.stderr
    (info,) = vault.read_keyset(path).keyset_info().key_info
    assert info.type_url == getattr(signature.signature_key_templates, template).type_url
    assert info.status == tink_pb2.ENABLED
    warned = "make the next one with the template ECDSA_P384_SHA384" in result.stderr
    assert warned == (template in {"ECDSA_P384", "ECDSA_P384_SHA512"})


def test_file_is_the_owners_alone_and_holds_the_key_only_encrypted(
    vault: Kek, tmp_path: Path, create_keyset: Type
) -> None:
    path = tmp_path / "enc-keyset.cfg"
    result = create_keyset(vault, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(json.loads(path.read_text())) == {"encryptedKeyset", "keysetInfo"}
    keyset = tink_pb2.Keyset.FromString(
        tink.proto_keyset_format.serialize(vault.read_keyset(path), secret_key_access.TOKEN)
    )
    secret = keyset.key[0].key_data.value
    assert secret not in path.read_bytes()
    assert ROOT_TOKEN not in result.stdout + result.stderr


def test_two_runs_make_two_keys(vault: Kek, tmp_path: Path, create_keyset: Type) -> None:
    for name in ("a", "b"):
        assert create_keyset(vault, tmp_path / name).returncode == 0
    keys = {
        tink.proto_keyset_format.serialize(vault.read_keyset(tmp_path / name), secret_key_access.TOKEN)
        for name in ("a", "b")
    }
    assert len(keys) == 2


def test_existing_file_is_not_overwritten(vault: Kek, tmp_path: Path, create_keyset: Type) -> None:
    path = tmp_path / "enc-keyset.cfg"
    path.write_text("another keyset")
    result = create_keyset(vault, path)
    assert result.returncode == 2
    assert result.stderr == (
        f"timestamp-server: error: {path}: the file exists, and a keyset in it would be lost; name another\n"
    )
    assert path.read_text() == "another keyset"


@pytest.mark.parametrize("server", ["vault", "aws", "gcp"])
def test_what_the_kms_refuses_is_one_line_and_leaves_no_file(
    server: str, request: pytest.FixtureRequest, tmp_path: Path, create_keyset: Type
) -> None:
    kek: Kek = request.getfixturevalue(server)
    path = tmp_path / "enc-keyset.cfg"
    absent = f"{kek.uri[:-4]}{'0000' if server == 'aws' else 'zzzz'}"
    # Vault would make the key that is absent, so it is given a token that it does not know.
    denied = {"VAULT_TOKEN": "hvs.unknown-token"} if server == "vault" else {}
    result = create_keyset(kek, path, uri=absent, **denied)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("timestamp-server: error: ")
    assert "permission denied" in line if server == "vault" else "not found" in line
    assert "hvs.unknown-token" not in line
    assert not path.exists()


def test_configuration_file_says_how_the_kms_is_reached(gcp: Kek, tmp_path: Path, type_command: Type) -> None:
    config = tmp_path / "tsa.toml"
    config.write_text(
        f'[signer.tink]\nkeyset_path = "enc-keyset.cfg"\nkey_resource = "{gcp.uri}"\n'
        f'gcp_endpoint = "{gcp.settings["gcp_endpoint"]}"\ngcp_plaintext = true\n'
    )
    path = tmp_path / "enc-keyset.cfg"
    result = type_command(["tink", "create-keyset", "--key-template", "ED25519", "--out", path, "--config", config], {})
    assert result.returncode == 0, result.stderr
    assert_signs_as(gcp.read_keyset(path), path, gcp)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("[signer.tink]\nkey_resourse = 'x'\n", "signer.tink.key_resourse: is no setting"),
        ("[signer.tink\n", "tsa.toml: the configuration file cannot be read: "),
        (None, "tsa.toml: the configuration file cannot be read: No such file or directory"),
        ("FIFO", "tsa.toml: the configuration file cannot be read: it is a FIFO that nobody writes to"),
        ("", "signer.tink.key_resource: the key that decrypts the keyset is not named"),
        ("[signer.tink]\nhcvault_token = { env = 'NONE' }\n", "the environment variable NONE is not set"),
    ],
)
def test_configuration_that_is_wrong_is_said_in_one_line(
    tmp_path: Path, type_command: Type, document: str | None, problem: str
) -> None:
    config = tmp_path / "tsa.toml"
    if document == "FIFO":
        os.mkfifo(config)
    elif document is not None:
        config.write_text(document)
    path = tmp_path / "enc-keyset.cfg"
    result = type_command(["tink", "create-keyset", "--key-template", "ED25519", "--out", path, "--config", config], {})
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert problem in line
    assert not path.exists()


def test_unknown_template_is_answered_with_those_that_there_are(
    vault: Kek, tmp_path: Path, create_keyset: Type
) -> None:
    result = create_keyset(vault, tmp_path / "enc-keyset.cfg", template="AES256_GCM")
    assert result.returncode == 2
    assert "'AES256_GCM' is not one of" in result.stderr
    assert "ECDSA_P384_SHA384" in result.stderr


def test_folder_that_is_not_there_is_said_in_one_line(vault: Kek, tmp_path: Path, create_keyset: Type) -> None:
    path = tmp_path / "nowhere" / "enc-keyset.cfg"
    result = create_keyset(vault, path)
    assert result.returncode == 2
    assert result.stderr == (
        f"timestamp-server: error: {path}: the keyset cannot be written: No such file or directory\n"
    )
