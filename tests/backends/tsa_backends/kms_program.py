"""A KMS plugin of sigstore's, as a program in a folder of a test's."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tsa_core.testing import shared_key

_SOURCE = Path(__file__).with_name("sigstore_kms_demo.py")


class KmsProgram:
    """The program sigstore-kms-demo in a folder that is on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "sigstore-kms-demo"
        # -I -S: a quick start, and no variable of the test's reaches it.
        self.path.write_text(f"#!{sys.executable} -IS\n{_SOURCE.read_text()}")
        self.path.chmod(0o755)

    def make_key(self, kind: str) -> str:
        """Make the program have a key; returns its URI."""
        pem = shared_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / f"{kind}.pem").write_bytes(pem)
        return f"demo://{kind}"

    def replace(self, script: str) -> None:
        """Put another program in its place."""
        self.path.unlink()
        self.path.write_text(f"#!/bin/sh\n{script}\n")
        self.path.chmod(0o755)

    def act(self, mood: str, *, on: bool = True) -> None:
        """Turn `freeze` or `refuse` on or off."""
        (self.folder / mood).touch() if on else (self.folder / mood).unlink(missing_ok=True)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What the program was called with."""
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
