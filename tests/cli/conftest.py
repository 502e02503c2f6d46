"""Fixtures of the commands' tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.ceremonies import prepare
from tests.cli.timestamp_shell import CHAIN, Shell, honest
from tsa_core.testing.http_tsa import HttpTsa


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    for name in [name for name in os.environ if name.startswith("TIMESTAMP_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # where a .timestamp.yaml would be read
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_bytes(b"hello")
    Path("chain.pem").write_bytes(CHAIN.pem)
    return Shell(capsys)


@pytest.fixture
def tsa() -> Iterator[HttpTsa]:
    with HttpTsa(honest) as server:
        yield server


@pytest.fixture
def reply(shell: Shell, tsa: HttpTsa) -> str:
    assert shell("timestamp", "--artifact", "a.txt", "--out", "r.tsr", "--timestamp_server", tsa.url).code == 0
    return "r.tsr"


@pytest.fixture
def key_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the files of a key ceremony."""
    monkeypatch.delenv("TSA_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    return tmp_path
