"""timestamp-server doctor: what is wrong, where, and what to do; and its exit code."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tsa_backends.commands import run_command
from tsa_backends.server_process import free_port

pytestmark = pytest.mark.plugin("memory", "file")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `timestamp-server init` makes."""
    folder = tmp_path_factory.mktemp("doctor") / "tsa"
    assert run_command("init", folder, "--org", "Example").returncode == 0
    return folder


@pytest.fixture
def ports() -> dict[str, str]:
    """Variables with which a server listens where nobody else does."""
    return {"TSA_SERVER__PORT": str(free_port()), "TSA_METRICS__PORT": str(free_port())}


def doctor(code: int, *arguments: object, **variables: str) -> dict[str, Any]:
    result = run_command("doctor", "--format", "json", *map(str, arguments), environ=variables)
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    assert document["healthy"] is (code == 0)
    return document


def findings(document: dict[str, Any], level: str) -> Iterator[str]:
    for finding in document["findings"]:
        if finding["level"] == level:
            yield f"{finding['section']}: {finding['what']}: {finding['text']}; {finding['remedy']}"


def test_nothing_is_bad_with_what_init_made(made: Path, ports: dict[str, str]) -> None:
    document = doctor(0, "--config", made / "tsa.toml", **ports)
    assert list(findings(document, "bad")) == []
    sections = list(dict.fromkeys(finding["section"] for finding in document["findings"]))
    assert sections[:3] == ["installation", "configuration", "files"]
    assert set(sections) >= {"plugins and keys", "certificates", "clock", "ports"}
    origins = {row["setting"]: row["origin"] for row in document["settings"]}
    assert origins["server.port"] == "environment variable TSA_SERVER__PORT"
    assert origins["profiles.default.signer"].startswith(f"{made / 'tsa.toml'}:")
    assert document["next"][-1].startswith("Nothing is bad: timestamp-server serve --config")


def test_certificate_end_and_key_usage_end_are_told_apart(made: Path, ports: dict[str, str]) -> None:
    document = doctor(0, "--config", made / "tsa.toml", **ports)
    [ends] = [each for each in findings(document, "good") if "certificates end" in each]
    assert ", the key may sign until " in ends


def test_the_key_of_another_certificate_is_told_with_both_fingerprints(
    made: Path, ports: dict[str, str], tmp_path: Path
) -> None:
    assert run_command("init", tmp_path / "other", "--org", "Other").returncode == 0
    chain = {"TSA_PROFILES__DEFAULT__CERTIFICATE_CHAIN": str(tmp_path / "other" / "chain.pem")}
    document = doctor(1, "--config", made / "tsa.toml", **ports, **chain)
    [bad] = findings(document, "bad")
    assert bad.count("SHA-256 ") == 2
    assert "give the chain that was issued for this key, or the other key" in bad
    assert document["next"][0].startswith("Mend start: profiles.default.certificate_chain: the signer's key")
    assert document["next"][-1].startswith("Then ask again: timestamp-server doctor --config ")


def test_a_port_in_use_says_what_to_do(ports: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports["TSA_SERVER__PORT"] = str(taken.getsockname()[1])
        document = doctor(1, **ports)
    [bad] = findings(document, "bad")
    assert bad.startswith("ports: http: 127.0.0.1:")
    assert "stop what listens there" in bad
    assert "--port" in bad


def test_a_configuration_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "tsa.toml").write_text('[server]\nprot = 1\n[profiles.default]\nsigner = "memory:"\n')
    document = doctor(1, "--config", tmp_path / "tsa.toml")
    [bad] = findings(document, "bad")
    assert "unknown setting server.prot; did you mean 'port'?" in bad


def test_files_are_judged_by_mode(made: Path, ports: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes((made / "tsa.key").read_bytes())
    (tmp_path / "key.pem").chmod(0o644)
    key = {"TSA_PROFILES__DEFAULT__SIGNER": f"file:{tmp_path / 'key.pem'}"}
    document = doctor(0, "--config", made / "tsa.toml", **ports, **key)
    assert any(f"chmod o-rwx {tmp_path / 'key.pem'}" in note for note in findings(document, "note"))
    missing = {"TSA_PROFILES__DEFAULT__CERTIFICATE_CHAIN": str(tmp_path / "nix.pem")}
    document = doctor(1, "--config", made / "tsa.toml", **ports, **missing)
    assert any(
        "put the file there, or change profiles.default.certificate_chain" in b for b in findings(document, "bad")
    )


def test_the_doctor_for_people(ports: dict[str, str]) -> None:
    result = run_command("doctor", environ=ports)
    assert result.returncode == 0, result.stderr
    assert "installation\tgood\ttsa-core\t" in result.stdout
    assert "\n1. For a trial: timestamp-server serve\n" in result.stdout
