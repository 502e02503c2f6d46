"""What commands say of a profile with `conformance`: clause, setting and remedy, and what nobody can see from here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.certs.chains_to_break import case_of, right_chain
from tsa_backends.commands import run_command
from tsa_core.conformance.profiles import CONFORMANCE
from tsa_core.testing import write_pem

pytestmark = pytest.mark.plugin("file")

CONFIG = """
[metrics]
enabled = false
[profiles.default]
signer = "file:key.pem"
certificate_chain = "chain.pem"
conformance = ["{0}"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a chain that every profile accepts, and a configuration for each profile."""
    folder = tmp_path_factory.mktemp("conformance")
    parts = right_chain()
    write_pem(folder / "chain.pem", case_of(parts).certificates)
    key = folder / "key.pem"
    key.write_bytes(parts[0].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    for name in CONFORMANCE:
        (folder / f"{name}.toml").write_text(CONFIG.format(name))
    return folder


def test_check_has_a_line_for_each_demand(folder: Path) -> None:
    result = run_command("check", "--config", folder / "sigstore.toml")
    assert result.returncode == 0, result.stderr
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    found = [line for line in lines if line[0] == "default" and len(line) == 5]
    assert [line[1] for line in found] == [rule.name for rule in CONFORMANCE["sigstore"].rules]
    assert {line[1]: line[2] for line in found if line[2] != "fulfilled"} == {"sigstore-trusted-root": "not checked"}
    assert next(line[4] for line in found if line[2] == "not checked").startswith("not visible from here: ")


def test_check_in_json(folder: Path) -> None:
    document = json.loads(run_command("check", "--config", folder / "sigstore.toml", "--json").stdout)
    found: list[dict[str, Any]] = document["conformance"]
    assert {each["outcome"] for each in found} == {"pass", "not judged"}
    assert all(each["clause"] and each["reason"] and each["profile"] == "default" for each in found)


@pytest.mark.parametrize("command", ["check", "serve"])
def test_every_broken_demand_is_a_line_and_the_exit_code_is_2(folder: Path, command: str) -> None:
    result = run_command(command, "--config", folder / "etsi.toml")
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    for line in (
        (
            "profiles.default.policies: 1.3.6.1.4.1.57264.2 is Sigstore's; write 0.4.0.2023.1.1, or an identifier of "
            "your organization's own (etsi-policy: EN 319 422 5.2.2 and Annex A; EN 319 421 5.2)"
        ),
        (
            'clock.monitors: nobody watches the clock; write monitors = ["ntp"], or ["chrony"] '
            "(etsi-clock-monitor: EN 319 421 7.7.2 (TIS-7.7.2-05))"
        ),
        (
            'audit.sinks: nothing records what becomes of the clock; write sinks = ["auditfile"], or another audit '
            "sink that keeps events (etsi-audit: EN 319 421 7.12 (OVR-7.12-04, OVR-7.12-06))"
        ),
        (
            'server.schemes: clients would send requests in the clear; write schemes = ["https"], or, behind a proxy '
            'that does TLS, public_url = "https://..." (etsi-https: EN 319 422 7)'
        ),
    ):
        assert line in result.stderr
    assert result.stderr.count("(etsi-") == 4


def test_doctor_lists_advice_and_what_nobody_sees(folder: Path) -> None:
    result = run_command("doctor", "--config", folder / "sigstore.toml", "--format", "json")
    found = [each for each in json.loads(result.stdout)["findings"] if each["section"] == "conformance"]
    good = sum(bool(rule.when) for rule in CONFORMANCE["sigstore"].rules)
    assert [each["text"] for each in found if each["level"] == "good"] == [f"sigstore: {good} demands are fulfilled"]
    notes = [each["text"] for each in found if each["level"] == "note"]
    assert len(notes) == 1
    assert notes[0].startswith("sigstore-trusted-root (Sigstore trusted root: timestampAuthorities): not checked, ")


def test_doctor_names_each_broken_demand(folder: Path) -> None:
    result = run_command("doctor", "--config", folder / "csbr.toml", "--format", "json")
    assert result.returncode == 1
    bad = [each["text"] for each in json.loads(result.stdout)["findings"] if each["level"] == "bad"]
    assert sum("(csbr-" in text for text in bad) == 2
