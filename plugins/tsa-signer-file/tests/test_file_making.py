"""The file signer makes keys: encrypted, for their owner alone, and never over a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tsa_core.api import KEY_KINDS, ConfigError
from tsa_core.testing import KeyMakingContract
from tsa_signer_file import plugin as file_plugin
from tsa_signer_file.making import make_key
from tsa_signer_file.options import FileOptions

PASSWORD = "correct horse battery staple"


class TestKeyMaking(KeyMakingContract):
    kinds = tuple(kind for kind in KEY_KINDS if not kind.startswith("rsa-"))

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return file_plugin

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"password": PASSWORD}

    @pytest.fixture
    def new_uri(self, tmp_path: Path) -> str:
        return f"file:{tmp_path}/tsa.key"


def test_the_file_is_encrypted_and_for_its_owner_alone(tmp_path: Path) -> None:
    make_key(FileOptions.model_validate({"uri": f"file:{tmp_path}/k", "password": PASSWORD}), "ecdsa-p256")
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in (tmp_path / "k").read_bytes()


def test_no_key_is_made_in_the_clear(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a key in a file is made encrypted"):
        make_key(FileOptions.model_validate({"uri": f"file:{tmp_path}/k"}), "ecdsa-p256")
    assert list(tmp_path.iterdir()) == []
