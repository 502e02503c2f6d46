"""The parts of the kit: a PKI that the server accepts, fakes that nothing registers, waiting, skipping."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tsa_core.api import ClockError, ConfigError, SignerError, SignerUnavailable
from tsa_core.authority import load_chain
from tsa_core.testing import (
    KEY_KINDS,
    NOON,
    FailingClock,
    FailingSigner,
    FakeSigner,
    FixedClock,
    Pki,
    RefusingSigner,
    SteppingClock,
    check_token,
    check_with_verifier,
    issue_token,
    make_authority,
    missing,
    on_threads,
    require_program,
    shared_key,
    wait_until,
)

pytest_plugins = "tsa_core.testing.pytest_plugin"


# -- PKI ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KEY_KINDS if kind != "rsa-4096"])
def test_any_key_gets_a_chain_under_which_a_server_issues(tsa_pki: Pki, tmp_path: Path, kind: str) -> None:
    signer = FakeSigner(shared_key(kind))
    check_token(issue_token(signer, tmp_path, pki=tsa_pki), signer, tmp_path)


@pytest.mark.parametrize("kind", ["rsa-2048", "ecdsa-p384", "ecdsa-p521", "ed25519", "ml-dsa-65"])
def test_any_key_can_be_a_cas(tmp_path: Path, kind: str) -> None:
    check_with_verifier(issue_token(FakeSigner(), tmp_path, pki=Pki(kind=kind)))


@pytest.mark.parametrize("intermediates", [0, 1, 3])
def test_chain_is_as_long_as_wanted(tmp_path: Path, intermediates: int) -> None:
    pki = Pki(intermediates=intermediates)
    path = pki.write_chain(tmp_path / "chain.pem", shared_key().public_key())
    chain = load_chain(path).certificates
    assert len(chain) == intermediates + 2
    assert chain[-1] == pki.root
    check_with_verifier(issue_token(FakeSigner(), tmp_path, pki=pki))


def test_only_the_public_key_is_needed() -> None:
    public_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert Pki().issue(public_key).public_key() == public_key


def test_certificates_with_faults_are_made_on_demand(tsa_pki: Pki, tmp_path: Path) -> None:
    signer = FakeSigner()
    now = datetime.now(UTC)
    faults = {
        "is not critical": tsa_pki.issue(signer.public_key, usage_critical=False),
        "must be timeStamping": tsa_pki.issue(signer.public_key, usages=()),
        "is a CA's": tsa_pki.issue(signer.public_key, ca=True),
        "ended on": tsa_pki.issue(
            signer.public_key, not_before=now - timedelta(days=2), not_after=now - timedelta(days=1)
        ),
    }
    for message, leaf in faults.items():
        path = tsa_pki.write_chain(tmp_path / "chain.pem", leaf)
        with pytest.raises(ConfigError, match=message):
            make_authority(signer, path)


# -- fakes ----------------------------------------------------------------------------------------------------------


def test_no_entry_point_registers_the_kit() -> None:
    everything = [entry for group in ("tsa_core.plugins", "pytest11") for entry in entry_points(group=group)]
    assert not [entry for entry in everything if entry.value.startswith("tsa_core.testing")]


def test_importing_the_kit_does_nothing() -> None:
    script = (
        "import os, sys, threading\n"
        "before = os.getcwd(), dict(os.environ), threading.active_count(), list(sys.path)\n"
        "import tsa_core.testing\n"
        "assert before == (os.getcwd(), dict(os.environ), threading.active_count(), list(sys.path))\n"
        "assert not [m for m in sys.modules if m.startswith(('tsa_core.http', 'tsa_core.cli', 'falcon'))]\n"
    )
    result = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_failing_signers_raise_what_they_are_for() -> None:
    with pytest.raises(SignerUnavailable):
        FailingSigner().sign(b"", timeout=1)
    with pytest.raises(SignerError, match="disabled"):
        RefusingSigner().sign(b"", timeout=1)
    signer = FakeSigner()
    signer.failure = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        signer.sign(b"message", timeout=1)
    assert signer.messages == [b"message"]


def test_clocks_tell_what_they_are_told(tsa_clock: FixedClock) -> None:
    assert tsa_clock.now().time == NOON
    tsa_clock.time = NOON + timedelta(days=1)
    assert tsa_clock.now().time == NOON + timedelta(days=1)
    back = SteppingClock(step=timedelta(seconds=-1))
    assert [back.now().time for _ in range(2)] == [NOON, NOON - timedelta(seconds=1)]
    with pytest.raises(ClockError):
        FailingClock().now()


# -- waiting, threads, skipping -------------------------------------------------------------------------------------


def test_waiting_ends_with_success_or_a_deadline() -> None:
    countdown = iter([False, False, True])
    wait_until(lambda: next(countdown), seconds=10, what="counted")
    with pytest.raises(AssertionError, match=r"the sky falls: not within 0\.05 s"):
        wait_until(lambda: False, seconds=0.05, what="the sky falls")


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64])
def test_results_of_threads_are_in_order(count: int) -> None:
    assert on_threads(lambda number: number * 2, range(count)) == [number * 2 for number in range(count)]


def test_missing_things_skip_or_fail_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TSA_TEST_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="there is no program 'no-such-program'; install its-package"):
        require_program("no-such-program", package="its-package")
    monkeypatch.setenv("TSA_TEST_REQUIRE", "all")
    with pytest.raises(pytest.fail.Exception, match="TSA_TEST_REQUIRE=all forbids to skip"):
        missing("no server")
    assert require_program("sh").is_absolute()
