"""What `openssl ts -reply` does as an authority, which docs/compare.md says beside what ours does."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tsa_core.testing import Pki, new_key, require_program, write_pem

CONFIGURATION = """
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
signer_cert = {folder}/chain.pem
signer_key = {folder}/key.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
"""
Issue = Callable[[Path], str]


@pytest.fixture
def issue(tmp_path: Path) -> Issue:
    """Return a function that has openssl issue a token with what a folder has, and returns the token as text."""
    openssl = require_program("openssl")
    query = tmp_path / "q.tsq"
    subprocess.run([openssl, "ts", "-query", "-digest", "00" * 32, "-sha256", "-out", query], check=True, timeout=60)

    def run(folder: Path) -> str:
        configuration = folder / "openssl.cnf"
        configuration.write_text(CONFIGURATION.format(folder=folder))
        command: list[str | Path] = [openssl, "ts", "-reply", "-config", configuration, "-queryfile", query, "-text"]
        issued = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
        return issued.stdout

    return run


def authority(folder: Path, pki: Pki, *, not_after: datetime | None = None) -> Path:
    """Make a key and its certificate, as files of openssl's."""
    folder.mkdir()
    key = new_key("ecdsa-p256")
    certificate = pki.issue(key.public_key(), not_after=not_after)
    write_pem(folder / "chain.pem", [certificate])
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder


def test_it_issues_with_a_certificate_that_has_ended(issue: Issue, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    folder = authority(tmp_path / "ended", Pki(now=now - timedelta(days=9)), not_after=now - timedelta(days=1))
    assert "Status: Granted." in issue(folder)


def test_two_replicas_of_it_give_the_same_serial_numbers(issue: Issue, tmp_path: Path) -> None:
    pki = Pki()
    first, second = (issue(authority(tmp_path / name, pki)) for name in ("first", "second"))
    [serial] = re.findall(r"^Serial number: (.+)$", first, re.MULTILINE)
    assert f"Serial number: {serial}\n" in second
