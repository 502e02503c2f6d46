"""Old signing tools get Authenticode's legacy timestamps from our server, and osslsigncode verifies the programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12

from tests.extract.signed_files import coder, pem_files, run
from tests.interop.builds import NoToolchain, not_on_this_machine, program
from tests.interop.program_clients import portable_executable
from tests.serving import QUERY, Server
from tsa_core.testing import ServerProcess, encode_request
from tsa_core.testing.programs import require_program

pytestmark = pytest.mark.plugin("authenticode", "memory", "auditfile")

CONFIG = """
[routes]
plugins = ["authenticode"]
[routes.authenticode.paths]
"/authenticode" = "default"
"/authenticode/sha512" = "sha512"
"/authenticode/p256" = "p256"
[routes.authenticode.sha1_paths]
"/authenticode/sha1" = "default"
[audit]
sinks = ["auditfile"]
[audit.auditfile]
path = "audit.jsonl"
[metrics]
enabled = false
[profiles.default]
signer = "memory:"
signer_options = { algorithm = "rsa-2048" }
[profiles.p256]
signer = "memory:"
[profiles.sha512]
signer = "memory:"
signer_hash = "sha512"
signer_options = { algorithm = "rsa-2048" }
"""
PROFILES = {"": "default", "/sha512": "sha512", "/p256": "p256", "/sha1": "default"}
OLD = "application/octet-stream"


class Served:
    """A server with a folder: its configuration, its trail, and what signs a program."""

    def __init__(self, folder: Path, process: ServerProcess) -> None:
        self.folder = folder
        self.server = Server(url=process.url)
        ca, signer = coder()
        (folder / "ca.pem").write_bytes(ca.certificate.public_bytes(Encoding.PEM))
        pem_files(folder, signer)
        (folder / "plain.exe").write_bytes(portable_executable())
        assert isinstance(signer.key, RSAPrivateKey)
        encryption = BestAvailableEncryption(b"secret")
        store = pkcs12.serialize_key_and_certificates(b"coder", signer.key, signer.certificate, None, encryption)
        (folder / "coder.p12").write_bytes(store)

    def root(self, profile: str) -> Path:
        """The file of the root of a profile's chain."""
        path = self.folder / f"{profile}-root.pem"
        chain = self.server.request("GET", f"/tsa/{profile}/certchain").body
        path.write_bytes(chain[chain.rindex(b"-----BEGIN") :])
        return path

    def events(self) -> list[dict[str, str]]:
        """The countersignatures in the audit trail."""
        lines = [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]
        return [line["details"] for line in lines if line.get("kind") == "countersignature"]


@pytest.fixture(scope="module", params=["waitress", "granian"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("authenticode")
    (folder / "tsa.toml").write_text(CONFIG)
    with ServerProcess(folder / "tsa.toml", "--server", request.param) as process:
        yield Served(folder, process)


def verify(served: Served, signed: Path, profile: str) -> str:
    """Return what osslsigncode says of a program; without the timestamp's root it says so, and ends with 0."""
    trust = ("-CAfile", served.folder / "ca.pem", "-TSA-CAfile", served.root(profile))
    command: list[str | Path] = ["osslsigncode", "verify", "-in", signed, *trust]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("path", PROFILES)
def test_osslsigncode_signs_and_verifies(served: Served, tmp_path: Path, path: str) -> None:
    osslsigncode = require_program("osslsigncode")
    folder, signed = served.folder, tmp_path / "signed.exe"
    keys = ("-certs", folder / "coder.pem", "-key", folder / "coder.key", "-h", "sha256")
    before = len(served.events())
    url = f"{served.server.url}/authenticode{path}"
    run(osslsigncode, "sign", *keys, "-t", url, "-in", folder / "plain.exe", "-out", signed)
    said = verify(served, signed, PROFILES[path])
    assert "Timestamp Server Signature verification: ok" in said
    assert "CN=Test TSA Timestamping" in said
    [event] = served.events()[before:]
    assert (event["protocol"], event["profile"]) == ("authenticode", PROFILES[path])
    assert event["hash"] == {"": "sha256", "/p256": "sha256"}.get(path, path[1:])
    assert bytes.fromhex(event["digest"]) in signed.read_bytes()


def test_jsign_stamps_and_osslsigncode_verifies(served: Served, tmp_path: Path) -> None:
    """jsign's RFC 3161 is in test_tool_recipes.py."""
    require_program("osslsigncode")
    try:
        jsign = program("jsign")
    except NoToolchain as error:
        not_on_this_machine(str(error))
    signed = tmp_path / "signed.exe"
    signed.write_bytes(portable_executable())
    keys = ("--keystore", served.folder / "coder.p12", "--storetype", "PKCS12", "--storepass", "secret")
    before = len(served.events())
    url = f"{served.server.url}/authenticode"
    run(*jsign, *keys, "--alg", "SHA-256", "--tsaurl", url, "--tsmode", "AUTHENTICODE", signed)
    assert "Timestamp Server Signature verification: ok" in verify(served, signed, "default")
    assert len(served.events()) == before + 1


def test_osslsigncode_refuses_another_authoritys(served: Served, tmp_path: Path) -> None:
    osslsigncode = require_program("osslsigncode")
    folder, signed = served.folder, tmp_path / "signed.exe"
    keys = ("-certs", folder / "coder.pem", "-key", folder / "coder.key", "-h", "sha256")
    url = f"{served.server.url}/authenticode"
    run(osslsigncode, "sign", *keys, "-t", url, "-in", folder / "plain.exe", "-out", signed)
    assert "Timestamp Server Signature verification: failed" in verify(served, signed, "p256")


def test_extract_names_it_beside_nothing_and_beside_a_token(served: Served, tmp_path: Path) -> None:
    osslsigncode = require_program("osslsigncode")
    folder, old = served.folder, tmp_path / "old.exe"
    keys = ("-certs", folder / "coder.pem", "-key", folder / "coder.key", "-h", "sha256")
    plain = ("-in", folder / "plain.exe", "-out", old)
    run(osslsigncode, "sign", *keys, "-t", f"{served.server.url}/authenticode", *plain)
    command: list[str | Path] = [sys.executable, "-m", "tsa_core.cli.timestamp", "extract", old]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "countersignature\tsignature 1" in done.stdout
    assert "no RFC 3161 token, and its time is not verified" in done.stdout
    assert "holds no RFC 3161 timestamp" in done.stderr
    both = tmp_path / "both.exe"
    # A nested signature has a timestamp of its own, as programs for old and new systems had them.
    run(osslsigncode, "sign", "-nest", *keys, "-ts", served.server.url, "-in", old, "-out", both)
    done = subprocess.run(
        [*command[:-1], "--format", "json", both], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = [(each["Kind"], each["Verdict"]) for each in json.loads(done.stdout)["Timestamps"]]
    assert found == [("Authenticode timestamp", "intact"), ("countersignature", "not checked")]


def test_each_protocol_at_the_others_address(served: Served) -> None:
    rfc3161 = served.server.post(encode_request(b"x"), content_type=QUERY, path="/authenticode")
    assert rfc3161.status == 400
    assert f"{served.server.url}/api/v1/timestamp (signtool /tr".encode() in rfc3161.body
    old = served.server.post(b"MIIBIwYKKwYBBAGCNwMCATCC", content_type=OLD)
    assert old.status == 415
    strong = [f"/authenticode{path}" for path in PROFILES if path != "/sha1"]
    assert old.json["message"].endswith(f"its address is {' or '.join(strong)}")
    assert served.server.post(bytes(65_537), content_type=OLD, path="/authenticode").status == 413
    assert served.server.request("GET", "/authenticode").status == 405
    assert served.server.request("GET", "/readyz").status == 200
