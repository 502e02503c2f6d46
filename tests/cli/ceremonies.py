"""A folder in which key ceremonies are held, and what holds them there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.cli.timestamp_shell import CHAIN
from tsa_core.cli.keys.group import keys

PASSWORD = "correct horse battery staple"
CONFIG = """\
[audit]
sinks = ["auditfile"]
[audit.auditfile]
path = "trail.jsonl"
[signer.file]
password = { file = "password" }
"""
WHO = ("--attendee", "Ada Lovelace=security officer", "--attendee", "Grace Hopper=auditor")

needs_file = pytest.mark.plugin("file", "auditfile")


def prepare(folder: Path) -> None:
    """Write what a ceremony reads."""
    (folder / "tsa.toml").write_text(CONFIG)
    (folder / "password").write_text(PASSWORD)
    (folder / "roots.pem").write_bytes(CHAIN.pem)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(keys, arguments)


def hold(*arguments: str, output: str = "c.json") -> Result:
    return run("ceremony", "--config", "tsa.toml", *WHO, "--key", "file:tsa.key", "--output", output, *arguments)


def good(result: Result) -> Result:
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    return result


def content(path: str = "c.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text())["content"]
    return found
