"""The content of a key file is overwritten when its key is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsa_core.api import ConfigError, key_file


def test_the_buffer_is_overwritten_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    with key_file(path, "private key", limit=6) as data:
        assert data == b"secret"
    assert data == bytes(6)


def test_the_buffer_is_overwritten_when_the_key_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    kept: list[bytearray] = []

    def load() -> None:
        with key_file(path, "private key", limit=100) as data:
            kept.append(data)
            raise KeyError("wrong")

    with pytest.raises(KeyError, match="wrong"):
        load()
    assert kept == [bytes(6)]


def test_a_file_that_is_too_large_or_missing_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    with pytest.raises(ConfigError, match="larger than any private key"), key_file(path, "private key", limit=5):
        pass
    with pytest.raises(ConfigError, match="cannot be read: No"), key_file(tmp_path / "x", "key", limit=5):
        pass
