"""The names of encodings come from a private module of cryptography: in one place, which works without it, too."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tsa_core.protocol import encodings

ROOT = Path(__file__).resolve().parent.parent.parent
PRIVATE = "cryptography.hazmat.primitives._serialization"


@pytest.mark.parametrize("there", [True, False])
def test_the_names_are_the_public_ones_with_the_private_module_or_without(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not there:
        monkeypatch.setitem(sys.modules, PRIVATE, None)
    assert encodings.__file__ is not None
    spec = importlib.util.spec_from_file_location("encodings_anew", encodings.__file__)
    assert spec is not None
    assert spec.loader is not None
    anew = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(anew)
    assert anew.Encoding is serialization.Encoding
    assert anew.PublicFormat is serialization.PublicFormat


def test_nothing_else_imports_the_private_module() -> None:
    folders = [ROOT / "tsa_core", ROOT / "plugins", ROOT / "examples"]
    found = {path for folder in folders for path in folder.rglob("*.py") if PRIVATE in path.read_text(encoding="utf-8")}
    assert {str(path.relative_to(ROOT)) for path in found} == {"tsa_core/protocol/encodings.py"}
