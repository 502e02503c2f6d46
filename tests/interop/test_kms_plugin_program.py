"""A KMS plugin that is built with sigstore's own library signs timestamps, whatever its key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.interop.builds import NoToolchain, built, not_on_this_machine
from tsa_core.api import SignerUnavailable
from tsa_core.host import SIGNER, PluginHost
from tsa_core.testing import shared_key

pytestmark = pytest.mark.plugin("cliplugin")


@pytest.fixture
def goplugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the program on the PATH; it is built once."""
    try:
        folder = built("kmsplugin")
    except NoToolchain as error:
        not_on_this_machine(str(error))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def key_file(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.pem"
    path.write_bytes(shared_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-3072", "ed25519"])
def test_every_kind_of_key_signs(goplugin: None, tmp_path: Path, kind: str) -> None:
    uri = f"goplugin://{key_file(tmp_path, kind)}"
    signer = PluginHost().open(SIGNER, "goplugin", {}, fixed={"uri": uri})
    for message in (b"", b"signed attributes", bytes(5000)):
        assert signer.algorithm.is_valid(signer.public_key, signer.sign(message, timeout=60), message)
    assert signer.public_key == shared_key(kind).public_key()


def test_what_the_program_cannot_do_is_said_in_its_words(goplugin: None, tmp_path: Path) -> None:
    with pytest.raises(SignerUnavailable, match=r"goplugin says: open .*nothing\.pem: no such file or directory"):
        PluginHost().open(SIGNER, "goplugin", {}, fixed={"uri": f"goplugin://{tmp_path}/nothing.pem"})
