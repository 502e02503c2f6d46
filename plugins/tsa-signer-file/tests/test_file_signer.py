"""The file signer fulfils the contracts, reads every usual form of a private key and explains what it cannot read."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tsa_core.api import ConfigError, PrivateKey, Signer
from tsa_core.testing import KEY_KINDS, ProviderContract, SignerContract, new_key, require_program, shared_key
from tsa_signer_file import plugin as file_plugin
from tsa_signer_file.options import FileOptions

PASSWORD = "correct horse battery staple"


def write(path: Path, data: bytes, *, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def encode(
    key: Any,
    encoding: Encoding = Encoding.PEM,
    form: PrivateFormat = PrivateFormat.PKCS8,
    *,
    password: str | None = None,
) -> bytes:
    encryption: KeySerializationEncryption = NoEncryption()
    if password is not None:
        encryption = BestAvailableEncryption(password.encode())
    data: bytes = key.private_bytes(encoding, form, encryption)
    return data


def open_file(uri: str, **options: Any) -> Signer:
    [provider] = file_plugin.tsa_signers()
    return provider.open(FileOptions.model_validate({"uri": uri, **options}))


def signs_with(signer: Signer, key: PrivateKey) -> bool:
    signature = signer.sign(b"message", timeout=5)
    return signer.algorithm.is_valid(key.public_key(), signature, b"message")


class TestFileProvider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return file_plugin

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"path": "/etc/tsa/key.pem", "password": PASSWORD}


class TestFileSigner(SignerContract):
    has_backend = False

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return file_plugin

    @pytest.fixture(params=[kind for kind in KEY_KINDS if kind != "rsa-4096"])
    def uri(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        path = write(tmp_path / "key.pem", encode(shared_key(request.param), password=PASSWORD))
        return f"file:{path}"

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"password": PASSWORD}


# -- the forms that a key may have ---------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER], ids=["PEM", "DER"])
@pytest.mark.parametrize(
    "kind", ["rsa-2048", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "ed448", "ml-dsa-65"]
)
def test_pkcs8(tmp_path: Path, kind: str, encoding: Encoding) -> None:
    key = shared_key(kind)
    path = write(tmp_path / "key", encode(key, encoding))
    assert signs_with(open_file(f"file:{path}"), key)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER], ids=["PEM", "DER"])
@pytest.mark.parametrize("kind", ["rsa-2048", "ecdsa-p256", "ecdsa-p521"])
def test_pkcs1_and_sec1(tmp_path: Path, kind: str, encoding: Encoding) -> None:
    key = shared_key(kind)
    data = encode(key, encoding, PrivateFormat.TraditionalOpenSSL)
    if encoding is Encoding.PEM:
        assert data.startswith((b"-----BEGIN RSA PRIVATE KEY", b"-----BEGIN EC PRIVATE KEY"))
    assert signs_with(open_file(f"file:{write(tmp_path / 'key', data)}"), key)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER], ids=["PEM", "DER"])
def test_encrypted_pkcs8(tmp_path: Path, encoding: Encoding) -> None:
    key = shared_key()
    path = write(tmp_path / "key", encode(key, encoding, password=PASSWORD))
    assert signs_with(open_file(f"file:{path}", password=PASSWORD), key)


def test_encrypted_pkcs1_in_pem(tmp_path: Path) -> None:
    key = shared_key("rsa-2048")
    path = write(tmp_path / "key.pem", encode(key, form=PrivateFormat.TraditionalOpenSSL, password=PASSWORD))
    assert signs_with(open_file(f"file:{path}", password=PASSWORD), key)


def test_ec_parameters_block_is_skipped(tmp_path: Path) -> None:
    openssl = require_program("openssl")
    path = tmp_path / "key.pem"
    subprocess.run([openssl, "ecparam", "-name", "prime256v1", "-genkey", "-out", path], check=True)
    path.chmod(0o600)
    assert path.read_bytes().startswith(b"-----BEGIN EC PARAMETERS-----")
    assert open_file(f"file:{path}").details()["key"] == "EC secp256r1"


def test_text_around_the_key_is_ignored(tmp_path: Path) -> None:
    key = shared_key()
    path = write(tmp_path / "key.pem", b"Bag Attributes\n    localKeyID: 01\n" + encode(key) + b"\n\n")
    assert signs_with(open_file(f"file:{path}"), key)


def test_p224_is_accepted_as_in_the_reference_system(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP224R1())
    assert open_file(f"file:{write(tmp_path / 'k', encode(key))}").algorithm.name == "ecdsa-sha256"


# -- where the key is ----------------------------------------------------------------------------------------------


def test_forms_of_the_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = shared_key()
    path = write(tmp_path / "a key.pem", encode(key))
    monkeypatch.chdir(tmp_path)
    quoted = str(path).replace(" ", "%20")
    for uri in ("file:a%20key.pem", f"file:{quoted}", f"file://{quoted}", f"file://localhost{quoted}"):
        assert signs_with(open_file(uri), key), uri
    assert signs_with(open_file("file:", path=str(path)), key)


def test_uri_with_a_host_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"names the host 'keys'; write file:keys/tsa\.pem for a relative path"):
        open_file("file://keys/tsa.pem")


def test_no_file_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="the file signer has no file; write the key URI as file:PATH"):
        open_file("file:")


def test_password_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = shared_key()
    path = write(tmp_path / "key.pem", encode(key, password=PASSWORD))
    secret = write(tmp_path / "password", PASSWORD.encode() + b"\n")
    monkeypatch.setenv("KEY_PASSWORD", PASSWORD)
    assert signs_with(open_file(f"file:{path}", password={"file": str(secret)}), key)
    assert signs_with(open_file(f"file:{path}", password={"env": "KEY_PASSWORD"}), key)


# -- what is wrong -------------------------------------------------------------------------------------------------


def refusal(path: Path, **options: Any) -> str:
    """Return the one line with which a file is refused."""
    with pytest.raises(ConfigError) as caught:
        open_file(f"file:{path}", **options)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert PASSWORD not in text
    return text


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    assert "the private key cannot be read: No such file or directory" in refusal(tmp_path / "nothing.pem")
    assert "cannot be read: Is a directory" in refusal(tmp_path)


def test_encrypted_key_without_password(tmp_path: Path) -> None:
    path = write(tmp_path / "key.pem", encode(shared_key(), password=PASSWORD))
    assert "the private key is encrypted; give its password by [signer.file] password" in refusal(path)


def test_wrong_password(tmp_path: Path) -> None:
    path = write(tmp_path / "key.pem", encode(shared_key(), password=PASSWORD))
    text = refusal(path, password="wrong horse")
    assert "the password is wrong or the file is damaged" in text
    assert "wrong horse" not in text


def test_needless_password_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = shared_key()
    path = write(tmp_path / "key.pem", encode(key))
    with caplog.at_level(logging.WARNING):
        assert signs_with(open_file(f"file:{path}", password=PASSWORD), key)
    assert "is not encrypted; its password is not needed" in caplog.text
    assert PASSWORD not in caplog.text


def test_rsa_1024_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "key.pem", encode(rsa.generate_private_key(65537, 1024)))
    assert "an RSA key of 1024 bits is out of range; use one of 2048 bits or more" in refusal(path)


def test_curve_that_cms_clients_lack_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "key.pem", encode(ec.generate_private_key(ec.SECP256K1())))
    assert "the curve secp256k1 is not supported" in refusal(path)


@pytest.mark.parametrize(
    "key", [x25519.X25519PrivateKey.generate(), dsa.generate_private_key(1024)], ids=["x25519", "dsa"]
)
def test_keys_that_cannot_sign_timestamps(tmp_path: Path, key: Any) -> None:
    path = write(tmp_path / "key.pem", encode(key))
    assert "cannot sign timestamps; use RSA, ECDSA, Ed25519, Ed448 or ML-DSA" in refusal(path)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER], ids=["PEM", "DER"])
def test_public_key_instead_of_the_private_one(tmp_path: Path, encoding: Encoding) -> None:
    data = shared_key().public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    assert "it is not a private key" in refusal(write(tmp_path / "key", data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"not a key at all\n",
    ],
    ids=["empty", "zeros", "damaged", "parameters alone", "certificate", "prose"],
)
def test_what_is_no_key(tmp_path: Path, data: bytes) -> None:
    assert "it is not a private key; PEM or DER of PKCS #8, PKCS #1 or SEC 1" in refusal(write(tmp_path / "k", data))


def test_truncated_key(tmp_path: Path) -> None:
    data = encode(new_key("rsa-2048"), Encoding.DER)
    assert "it is not a private key" in refusal(write(tmp_path / "key.der", data[:-10]))


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    assert "the file is larger than any private key" in refusal(write(tmp_path / "disk.img", bytes(70_000)))


@pytest.mark.parametrize("mode", [0o604, 0o660, 0o644])
def test_key_that_others_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int) -> None:
    path = write(tmp_path / "key.pem", encode(shared_key()), mode=mode)
    with caplog.at_level(logging.WARNING):
        open_file(f"file:{path}")
    assert f"{path} is open to other users (mode {mode:04o}); chmod 600 {path}" in caplog.text


def test_well_kept_key_is_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        open_file(f"file:{write(tmp_path / 'key.pem', encode(shared_key()))}")
    assert caplog.text == ""


def test_nothing_of_the_key_is_shown(tmp_path: Path) -> None:
    key = new_key()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    secret = key.private_numbers().private_value
    signer = open_file(f"file:{write(tmp_path / 'key.pem', encode(key, password=PASSWORD))}", password=PASSWORD)
    shown = f"{signer!r} {signer} {signer.details()} {vars(signer)}"
    assert PASSWORD not in shown
    assert str(secret) not in shown
    assert f"{secret:x}" not in shown
