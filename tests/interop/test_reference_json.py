"""timestamp-cli's JSON beside that of the reference's timestamp-cli, built from its Go module, for the same replies."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.interop.builds import BuildFailed, NoToolchain, built, not_on_this_machine
from tests.serving import running_server
from tsa_core.cli import timestamp as timestamp_cli
from tsa_core.client import build_request
from tsa_core.testing import missing

pytestmark = pytest.mark.timeout(900)  # the reference's first build


@pytest.fixture(scope="module")
def reference() -> Path:
    """The reference's own timestamp-cli."""
    try:
        return built("reference") / "bin" / "timestamp-cli"
    except NoToolchain as reason:
        not_on_this_machine(str(reason))
    except BuildFailed as reason:
        missing(str(reason))


def theirs(program: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    command: list[str | Path] = [program, *arguments, "--format", "json"]
    environ = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def ours(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert timestamp_cli.run([*arguments, "--format", "json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def check_same(own: dict[str, Any], other: dict[str, Any]) -> None:
    """Every name of theirs is there with the same value; of certificates, which Go takes apart, these."""
    certificates = zip(own["Certificates"], other.pop("Certificates"), strict=True)
    for certificate, theirs_of_it in certificates:
        for name in ("Raw", "Subject", "Issuer", "SerialNumber", "NotBefore", "NotAfter"):
            assert certificate[name] == theirs_of_it[name]
    assert {name: own[name] for name in other} == other


@pytest.mark.parametrize("policy", [None, "1.2.3.4.5"])
def test_the_same_names_types_and_values(
    reference: Path,
    policy: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    artifact = b"the document"
    body = build_request(artifact=artifact, hash_name="sha384" if policy else "sha256", policy=policy)
    with running_server(profiles={"default": {"policies": ["1.2.3.4.5", "1.3.6.1.4.1.57264.2"]}}) as server:
        Path("chain.pem").write_bytes(server.request("GET", "/api/v1/timestamp/certchain").body)
        Path("t.tsr").write_bytes(server.post(body).body)
    Path("a.txt").write_bytes(artifact)
    inspect = ("inspect", "--timestamp", "t.tsr")
    check_same(ours(capsys, *inspect)["TimestampResponse"], theirs(reference, tmp_path, *inspect)["TimestampResponse"])
    verify = ("verify", "--artifact", "a.txt", "--timestamp", "t.tsr", "--certificate-chain", "chain.pem")
    own, other = ours(capsys, *verify), theirs(reference, tmp_path, *verify)
    assert own["TimestampPath"] == other["TimestampPath"]
    check_same(own["ParsedTimestamp"], other["ParsedTimestamp"])


def test_version_has_the_references_fields_first(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = theirs(reference, tmp_path, "version", "--json")
    own = ours(capsys, "version", "--json")
    assert list(own)[: len(other)] == list(other)
    assert own["platform"] == other["platform"]
