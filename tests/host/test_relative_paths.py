"""Relative paths in plugins' tables are relative to the configuration file, wherever the server is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tsa_core.config import load_settings
from tsa_core.service import Service
from tsa_core.testing.pki import Pki, shared_key

pytestmark = pytest.mark.plugin("file")


@pytest.mark.parametrize(
    "signer", ['signer = "file:keys/key.pem"', 'signer = "file:"\nsigner_options = { path = "keys/key.pem" }']
)
def test_key_password_and_chain_are_found_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signer: str
) -> None:
    key = shared_key()
    folder = tmp_path / "etc"
    (folder / "keys").mkdir(parents=True)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"0123"))
    (folder / "keys" / "key.pem").write_bytes(encrypted)
    (folder / "keys" / "key.pem").chmod(0o600)
    (folder / "password").write_text("0123\n")
    Pki().write_chain(folder / "chain.pem", key.public_key())
    (folder / "tsa.toml").write_text(
        f'[profiles.default]\n{signer}\ncertificate_chain = "chain.pem"\n'
        '[signer.file]\npassword = { file = "password" }\n'
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with Service(load_settings(folder / "tsa.toml", environ={})) as service:
        assert "default" in service.authority.profiles
