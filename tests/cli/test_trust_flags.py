"""timestamp-cli verify: whom --trusted-root and --trust trust, and the timestamps of a Sigstore bundle."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.cli.timestamp_shell import CHAIN, Shell, piped
from tsa_core.certs import CertificateChain
from tsa_core.certs.trust_documents import PublishedAuthority, trusted_root
from tsa_core.testing import forge

VERIFY = ("verify", "--artifact", "a.txt", "--timestamp", "t.tsr")
SIGNATURE = b"a signature that somebody made"


def reply(artifact: bytes) -> bytes:
    bag = [CHAIN.signer.der, CHAIN.intermediate.der]
    content = forge.tst_info(digest=hashlib.sha256(artifact).digest())
    return forge.reply(forge.token(CHAIN.signer, content, certificates=bag))


def document(*, ended: bool = False) -> dict[str, Any]:
    chain = CertificateChain(certificates=tuple(c.certificate for c in (CHAIN.signer, CHAIN.intermediate, CHAIN.root)))
    begun = forge.GEN_TIME - timedelta(days=9)
    return trusted_root(
        [PublishedAuthority(chain=chain, begun=begun, ended=begun + timedelta(days=1) if ended else None)]
    )


@pytest.fixture(autouse=True)
def files(shell: Shell) -> None:
    Path("a.txt").write_bytes(b"hello")
    Path("t.tsr").write_bytes(reply(b"hello"))
    Path("chain.pem").write_bytes(CHAIN.pem)
    Path("root.json").write_text(json.dumps(document()), encoding="utf-8")
    Path("ended.json").write_text(json.dumps(document(ended=True)), encoding="utf-8")


def bundle(*timestamps: bytes, **changes: Any) -> str:
    entries = [{"signedTimestamp": base64.b64encode(each).decode()} for each in timestamps]
    material = {"timestampVerificationData": {"rfc3161Timestamps": entries}}
    text = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material,
        "messageSignature": {"signature": base64.b64encode(SIGNATURE).decode()},
    }
    Path("b.json").write_text(json.dumps({**text, **changes}), encoding="utf-8")
    return "b.json"


@pytest.mark.parametrize("trust", [("--trusted-root", "root.json"), ("--trust", "root.json"), ("--trust", "chain.pem")])
def test_files_of_either_kind_are_trusted(shell: Shell, trust: tuple[str, str]) -> None:
    assert shell(*VERIFY, *trust).code == 0


def test_the_window_of_a_trusted_root_counts(shell: Shell) -> None:
    assert "is trusted until" in shell.fails(1, *VERIFY, "--trusted-root", "ended.json")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "must be called with either only the --certificate-chain flag"),
        (
            ("--trust", "chain.pem", "--trusted-root", "root.json"),
            "must be called with either only the --certificate-chain flag",
        ),
        (("--trust", "chain.pem", "--intermediate-certificates", "chain.pem"), "goes with --root-certificates"),
        (("--trust", "http://tsa.example.org/root.json#" + 64 * "0"), "an address is https://...#SHA256"),
        (("--trust", "https://tsa.example.org/root.json"), "an address is https://...#SHA256"),
        (("--trust", "nobody"), "nobody cannot be read"),
    ],
)
def test_wrong_trust_is_a_usage_error(shell: Shell, flags: tuple[str, ...], message: str) -> None:
    assert message in shell.fails(2, *VERIFY, *flags)


def test_a_name_is_what_sigstores_package_ships(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "site" / "sigstore" / "_store" / "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev"
    store.mkdir(parents=True)
    (tmp_path / "site" / "sigstore" / "__init__.py").write_text("raise RuntimeError('imported')")
    (store / "trusted_root.json").write_text(json.dumps(document()), encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    monkeypatch.delitem(sys.modules, "sigstore", raising=False)
    assert shell(*VERIFY, "--trust", "sigstore").code == 0


def test_without_that_package_the_name_is_explained(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sigstore", ModuleType("sigstore"))
    sys.modules["sigstore"].__spec__ = None
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "install it, or give --trusted-root" in shell.fails(2, *VERIFY, "--trust", "sigstore")
    ask = ("timestamp", "--artifact", "a.txt", "--tsa", "sigstore")
    assert "install it, or give --verify-with" in shell.fails(2, *ask), "a flag that this command has"


@pytest.mark.package("sigstore")
@pytest.mark.parametrize("name", ["sigstore", "sigstore-staging"])
def test_the_roots_that_sigstore_ships_are_read(shell: Shell, name: str) -> None:
    assert "issuer" in shell.fails(1, *VERIFY, "--trust", name)


def test_every_timestamp_of_a_bundle_is_verified(shell: Shell) -> None:
    bundle(reply(SIGNATURE), reply(SIGNATURE))
    outcome = shell("verify", "--bundle", "b.json", "--certificate-chain", "chain.pem")
    assert outcome.code == 0, outcome
    assert "Successfully verified timestamp 1 of 2 in b.json" in outcome.out
    assert "Successfully verified timestamp 2 of 2 in b.json" in outcome.out
    with_json = shell(
        "verify", "--bundle", "b.json", "--trust", "root.json", "--format", "json",
    )  # fmt: skip
    said = json.loads(with_json.out)
    assert (said["BundlePath"], said["Verified"], len(said["Timestamps"])) == ("b.json", True, 2)


def test_a_bundle_may_come_through_a_pipe(shell: Shell) -> None:
    bundle(reply(SIGNATURE))
    with piped("b.json") as name:
        assert shell("verify", "--bundle", name, "--certificate-chain", "chain.pem").code == 0


def test_one_bad_timestamp_of_a_bundle_is_named(shell: Shell) -> None:
    bundle(reply(SIGNATURE), reply(b"another signature"))
    outcome = shell("verify", "--bundle", "b.json", "--certificate-chain", "chain.pem")
    assert outcome.code == 1
    assert "timestamp 2 of 2 in b.json" in outcome.err
    with_json = shell("verify", "--bundle", "b.json", "--certificate-chain", "chain.pem", "--format", "json")
    said = json.loads(with_json.out)
    assert (with_json.code, said["Verified"], said["Timestamp"], said["Rule"]) == (1, False, 2, "V2")


def test_the_signature_of_an_envelope_is_what_is_timestamped(shell: Shell) -> None:
    signed = {"sig": base64.b64encode(SIGNATURE).decode()}
    envelope = {"payload": "e30=", "signatures": [signed]}
    bundle(reply(SIGNATURE), dsseEnvelope=envelope)
    text = json.loads(Path("b.json").read_text(encoding="utf-8"))
    del text["messageSignature"]
    Path("b.json").write_text(json.dumps(text), encoding="utf-8")
    assert shell("verify", "--bundle", "b.json", "--certificate-chain", "chain.pem").code == 0
    envelope["signatures"] = [signed, signed]
    Path("b.json").write_text(json.dumps({**text, "dsseEnvelope": envelope}), encoding="utf-8")
    assert "one signature" in shell.fails(1, "verify", "--bundle", "b.json", "--certificate-chain", "chain.pem")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mediaType": "application/json"}, "its mediaType does not begin with"),
        ({"verificationMaterial": {}}, "holds no RFC 3161 timestamp"),
        ({"verificationMaterial": []}, "holds no RFC 3161 timestamp"),
        ({"messageSignature": {"signature": "*"}}, "messageSignature.signature is not base64"),
        ({"messageSignature": 7}, "messageSignature.signature is not base64"),
    ],
)
def test_a_bundle_that_cannot_be_read_is_explained(shell: Shell, changes: dict[str, Any], message: str) -> None:
    bundle(reply(SIGNATURE), **changes)
    assert message in shell.fails(1, "verify", "--bundle", "b.json", "--certificate-chain", "chain.pem")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--bundle", "b.json", "--timestamp", "t.tsr"), "give --timestamp or --bundle"),
        (("--artifact", "a.txt"), "give --timestamp or --bundle"),
        (("--bundle", "b.json", "--artifact", "a.txt"), "--artifact has no effect with --bundle"),
        (("--bundle", "b.json", "--nonce", "7"), "--nonce has no effect with --bundle"),
    ],
)
def test_flags_that_do_not_go_with_a_bundle(shell: Shell, flags: tuple[str, ...], message: str) -> None:
    bundle(reply(SIGNATURE))
    assert message in shell.fails(2, "verify", *flags, "--certificate-chain", "chain.pem")
