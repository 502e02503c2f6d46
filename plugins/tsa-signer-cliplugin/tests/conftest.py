"""A folder with a KMS plugin as a program, on the PATH."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tsa_backends.kms_program import KmsProgram
from tsa_core.testing import require_program


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KmsProgram:
    require_program("openssl")
    assert shutil.which("sigstore-kms-demo") is None
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return KmsProgram(folder)
