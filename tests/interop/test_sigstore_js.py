"""sigstore-js: which times and which RSA it reads, and the TrustedRoot that it loads."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from asn1crypto.tsp import TimeStampResp

from tests import pki
from tests.interop.builds import BuildFailed, NoToolchain, built, not_on_this_machine
from tests.interop.case_folder import ARTIFACT, write_artifacts
from tests.interop.matrix import verdicts_of_program
from tests.serving import Parts, TestClock, TestSigner, running_server
from tsa_core.client import build_request
from tsa_core.conformance.chains import fraction_digits_complaint
from tsa_core.testing.programs import missing

pytestmark = pytest.mark.timeout(900)  # a cold build

TIME = datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)
ENDING_IN_ZERO = TIME.replace(microsecond=120_000)


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """What sigstore-js says: `ecdsa-0` to `ecdsa-6` by digits, `ecdsa-zero` of a shorter fraction, RSA by digest."""
    folder = tmp_path_factory.mktemp("times")
    write_artifacts(folder)
    profiles: dict[str, dict[str, object]] = {f"ecdsa-{digits}": {"fraction_digits": digits} for digits in range(7)}
    for digest in ("sha256", "sha384", "sha512"):
        profiles[f"rsa-{digest}"] = {"signer": f"test:{digest}"}
    clock = TestClock(lambda: TIME)
    signers = {digest: TestSigner("rsa-2048", digest=digest) for digest in ("sha256", "sha384", "sha512")}
    parts = Parts(signers={"p256": TestSigner(), **signers}, clock=clock)
    with running_server(parts, profiles=profiles) as server:
        for name in [*profiles, "ecdsa-zero"]:
            profile = name.replace("zero", "3")
            if name == "ecdsa-zero":
                clock.set(ENDING_IN_ZERO)
            reply = server.post(build_request(artifact=ARTIFACT), path=f"/tsa/{profile}").body
            assert TimeStampResp.load(reply)["status"]["status"].native == "granted"
            (folder / name).mkdir()
            (folder / name / "reply.tsr").write_bytes(reply)
            chain = pki.der(pki.chain("rsa-2048" if name.startswith("rsa") else "p256"))
            for certificate, data in zip(("signer", "intermediate", "root"), chain, strict=True):
                (folder / name / f"{certificate}.der").write_bytes(data)
    try:
        verdicts = verdicts_of_program("node", folder)
    except NoToolchain as reason:
        not_on_this_machine(str(reason))
    except BuildFailed as reason:
        missing(str(reason))
    return {name: verdicts["sigstore-js", name, "artifact"] is None for name in [*profiles, "ecdsa-zero"]}


def test_sigstore_js_reads_whole_seconds_and_three_digits(accepted: dict[str, bool]) -> None:
    read = {digits for digits in range(7) if accepted[f"ecdsa-{digits}"]}
    assert read == {0, 3}


def test_sigstore_js_refuses_three_digits_that_end_in_zero(accepted: dict[str, bool]) -> None:
    assert not accepted["ecdsa-zero"]


def test_sigstore_js_verifies_rsa_with_sha256_alone(accepted: dict[str, bool]) -> None:
    assert [digest for digest in ("sha256", "sha384", "sha512") if accepted[f"rsa-{digest}"]] == ["sha256"]


def test_only_whole_seconds_are_without_complaint() -> None:
    assert [digits for digits in range(7) if fraction_digits_complaint(digits) is None] == [0]
    assert "one token in ten" in (fraction_digits_complaint(3) or "")


@pytest.fixture(scope="module")
def sigstore_js() -> Path:
    """The folder of the built clients."""
    try:
        return built("node")
    except NoToolchain as reason:
        not_on_this_machine(str(reason))
    except BuildFailed as reason:
        missing(str(reason))


@pytest.mark.parametrize("artifact", [ARTIFACT, b"another"])
def test_sigstore_js_loads_the_trusted_root_and_verifies_with_it(
    sigstore_js: Path, tmp_path: Path, artifact: bytes
) -> None:
    with running_server() as server:
        (tmp_path / "root.json").write_bytes(server.request("GET", "/api/v1/timestamp/trusted_root.json").body)
        (tmp_path / "reply.tsr").write_bytes(server.post(build_request(artifact=ARTIFACT)).body)
    (tmp_path / "artifact").write_bytes(artifact)
    files = [tmp_path / name for name in ("root.json", "reply.tsr", "artifact")]
    command: list[str | Path] = ["node", "trusted_root.js", *files]
    done = subprocess.run(command, cwd=sigstore_js, capture_output=True, text=True, timeout=120, check=False)
    good = artifact == ARTIFACT
    assert (done.returncode == 0, done.stdout.strip()) == (good, "1" if good else ""), done.stderr
