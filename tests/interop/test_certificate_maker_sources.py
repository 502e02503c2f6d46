"""certificate-maker beside the reference's: its templates' fields, the published templates, its own verifier."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.interop.builds import BuildFailed, NoToolchain, built, not_on_this_machine
from tests.serving import served_by_waitress
from tsa_core.certs.maker import CertificateTemplate, Role, default_template
from tsa_core.cli.certificate_maker import certificate_maker
from tsa_core.client import build_request
from tsa_core.config import load_settings
from tsa_core.service import Service
from tsa_core.testing import missing, shared_key

pytestmark = pytest.mark.timeout(900)  # the reference's first build


def of(name: str) -> Path:
    try:
        return built(name)
    except NoToolchain as reason:
        not_on_this_machine(str(reason))
    except BuildFailed as reason:
        missing(str(reason))


@pytest.fixture(scope="module")
def sources() -> Path:
    """The sources of Certificate Maker and of the timestamp authority, which has templates for it."""
    return of("certmaker")


def test_every_field_and_word_of_the_references_templates_is_known(sources: Path, tmp_path: Path) -> None:
    source = (sources / "fulcio" / "pkg" / "certmaker" / "template.go").read_text(encoding="utf-8")
    assert set(re.findall(r'`json:"(\w+)"`', source)) == {
        *("subject", "keyUsage", "extKeyUsage", "basicConstraints"),
        *("country", "organization", "organizationalUnit", "commonName", "isCA", "maxPathLen"),
    }
    key_usages, _, extended = source.partition("func parseExtKeyUsages")
    words = [re.findall(r'"(\w+)"', " ".join(re.findall(r"case (.+):", part))) for part in (key_usages, extended)]
    found = {"keyUsage": [word for word in words[0] if word.islower()], "extKeyUsage": words[1][:7]}
    assert [len(each) for each in found.values()] == [11, 7]
    (tmp_path / "all.json").write_text(json.dumps({"subject": {"country": ["DE"], "commonName": "x"}, **found}))
    template = CertificateTemplate("root", tmp_path / "all.json", common_name="")
    assert template.extensions(shared_key("ecdsa-p256").public_key(), None)


@pytest.mark.parametrize("role", ["root", "intermediate", "leaf"])
def test_default_templates_are_the_published_ones_for_timestamp_authorities(sources: Path, role: Role) -> None:
    """But for two things: each certificate has a name of its own, and intermediates list timeStamping."""
    folder = sources / "timestamp-authority" / "pkg" / "certmaker" / "templates"
    published, own = (folder / f"{role}-template.json").read_text(encoding="utf-8"), default_template(role)
    if role == "leaf":
        assert own == published
        return
    fields: dict[str, Any] = json.loads(published)
    fields["subject"]["commonName"] += f" {role.capitalize()}"
    if role == "intermediate":
        fields["extKeyUsage"] = ["timeStamping"]
    assert json.loads(own) == fields


@pytest.mark.plugin("file")
def test_the_references_verifier_takes_a_token_under_a_made_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = of("reference") / "bin" / "timestamp-cli"
    monkeypatch.chdir(tmp_path)
    arguments = ["create", "tsa.example.com", "--chain", "chain.pem"]
    for role, kind in (("root", "ecdsa-p384"), ("intermediate", "ecdsa-p521"), ("leaf", "ecdsa-p256")):
        key = shared_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        Path(f"{role}.key").write_bytes(key)
        Path(f"{role}.key").chmod(0o600)
        arguments += [f"--{role}-key-id", f"file:{role}.key"]
    made = CliRunner().invoke(certificate_maker, arguments, catch_exceptions=False)
    assert made.exit_code == 0, made.output
    Path("artifact").write_bytes(b"the document")
    profile = {"signer": "file:leaf.key", "certificate_chain": "chain.pem"}
    settings = load_settings(overrides={"profiles": {"default": profile}, "server": {"port": 0}}, environ={})
    with served_by_waitress(Service(settings)) as server:
        Path("reply.tsr").write_bytes(server.post(build_request(artifact=b"the document")).body)
    verified = subprocess.run(
        [program, "verify", "--artifact", "artifact", "--timestamp", "reply.tsr", "--certificate-chain", "chain.pem"],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stderr
    assert "Successfully verified timestamp reply.tsr" in verified.stdout + verified.stderr
