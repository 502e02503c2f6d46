"""deploy/systemd/tsa.service: accepted by systemd, tight, and true to how the server behaves."""

from __future__ import annotations

import re
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from tsa_core.cli.audit.anchor import anchor
from tsa_core.cli.renew import EXIT_NOTHING_TO_DO, renew
from tsa_core.testing import ServerProcess, encode_request, missing, require_program

UNIT = Path(__file__).resolve().parents[2] / "deploy" / "systemd" / "tsa.service"
HIGHEST_EXPOSURE = 2.0
"""systemd's own measure, from 0 to 10; a service that listens on the network without any care has 9.6."""
GRANTED = bytes.fromhex("3003020100")


def setting(name: str) -> list[str]:
    text = UNIT.read_text(encoding="utf-8")
    return re.findall(rf"^{name}=(.*)$", text, flags=re.MULTILINE)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = require_program("systemd-analyze", package="systemd")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """With the program where this environment has it, because it must be there."""
    [command] = setting("ExecStart")
    here = Path(sys.executable).with_name("timestamp-server")
    assert here.is_file()
    copy = tmp_path / "tsa.service"
    copy.write_text(UNIT.read_text(encoding="utf-8").replace(command.split()[0], str(here)))
    result = analyze("verify", "--man=no", str(copy))
    complaints = [line for line in result.stderr.splitlines() if "tsa.service" in line]
    assert (result.returncode, complaints) == (0, []), result.stderr


@pytest.mark.parametrize("unit", ["tsa-renew", "tsa-anchor"])
def test_systemd_accepts_a_command_and_its_timer(tmp_path: Path, unit: str) -> None:
    here = Path(sys.executable).with_name("timestamp-server")
    for name in (f"{unit}.service", f"{unit}.timer"):
        text = (UNIT.parent / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("/usr/local/bin/timestamp-server", str(here)))
    result = analyze("verify", "--man=no", str(tmp_path / f"{unit}.service"), str(tmp_path / f"{unit}.timer"))
    complaints = [line for line in result.stderr.splitlines() if unit in line]
    assert (result.returncode, complaints) == (0, []), result.stderr


def test_the_anchoring_is_a_command_that_there_is() -> None:
    text = (UNIT.parent / "tsa-anchor.service").read_text(encoding="utf-8")
    [command] = re.findall(r"^ExecStart=\S+ (.*)$", text, flags=re.MULTILINE)
    assert command.split()[:2] == ["audit", "anchor"]
    assert anchor.make_context("anchor", command.split()[2:]).params["config"] == Path("/etc/tsa/tsa.toml")


def test_the_renewal_is_a_command_that_there_is() -> None:
    text = (UNIT.parent / "tsa-renew.service").read_text(encoding="utf-8")
    [command] = re.findall(r"^ExecStart=\S+ (.*)$", text, flags=re.MULTILINE)
    [issuer] = re.findall(r'^Environment="ISSUER=(.*)"$', text, flags=re.MULTILINE)
    words = command.replace("$ISSUER", issuer).split()
    assert words.pop(0) == "renew"
    context = renew.make_context("renew", words)
    assert (context.params["days_before"], str(context.params["csr_out"])) == (30, "/etc/tsa/tsa.csr")
    assert f"SuccessExitStatus={EXIT_NOTHING_TO_DO}\n" in text


def test_systemd_finds_little_exposed() -> None:
    result = analyze("security", "--offline=true", "--no-pager", f"--threshold={HIGHEST_EXPOSURE * 10:.0f}", str(UNIT))
    found = re.search(r"Overall exposure level for tsa\.service: ([0-9.]+)", result.stdout)
    assert found is not None, result.stderr
    assert float(found[1]) <= HIGHEST_EXPOSURE
    assert result.returncode == 0


def test_flags_are_those_of_the_server(tmp_path: Path) -> None:
    [command] = setting("ExecStart")
    assert command.split()[1:] == ["serve", "--config", "/etc/tsa/tsa.toml"]
    # A restart mends no configuration, and such a server ends with this code; 75 is for what passes.
    assert setting("RestartPreventExitStatus") == ["2"]
    assert setting("Restart") == ["on-failure"]
    assert setting("StartLimitIntervalSec") == ["0"]
    result = subprocess.run(
        [sys.executable, "-m", "tsa_core.cli.server", "serve", "--config", str(tmp_path / "tsa.toml")],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2


def test_settings_are_keys_that_systemd_knows_once() -> None:
    """RawConfigParser refuses a section or a key that is there twice, but for those that add up."""
    text = UNIT.read_text(encoding="utf-8")
    parser = RawConfigParser(strict=True)
    parser.read_string(re.sub(r"^SystemCallFilter=.*\n", "", text, flags=re.MULTILINE))
    assert parser.sections() == ["Unit", "Service", "Install"]
    assert len(setting("SystemCallFilter")) == 3


_UNDER_MDWE = """
import ctypes, os, sys
if ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.plugin("memory")
def test_server_needs_no_memory_that_is_both_written_and_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MemoryDenyWriteExecute=yes, as the kernel itself enforces it since Linux 6.3."""
    assert setting("MemoryDenyWriteExecute") == ["yes"]
    trial = subprocess.run(
        [
            sys.executable,
            "-c",
            _UNDER_MDWE,
            "-c",
            "import mmap; mmap.mmap(-1, 4096, prot=7)",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Invalid argument" in trial.stderr:
        missing("this kernel cannot deny memory that is both written and executed (Linux 6.3 can)")
    assert trial.returncode != 0, "the trial was allowed to map such memory"
    wrapper = tmp_path / "python"
    wrapper.write_text(f"#!{sys.executable}\n" + _UNDER_MDWE)
    wrapper.chmod(0o755)
    config = tmp_path / "tsa.toml"
    config.write_text('[profiles.default]\nsigner = "memory:"\n')
    server = ServerProcess(config)
    server.command[0] = str(wrapper)
    with server:
        assert GRANTED in server.stamp(encode_request()).body[:16]
        assert b"clock" in server.get("/readyz").body


def test_kernel_may_be_asked_about_leap_seconds() -> None:
    """ProtectClock forbids adjtimex(2) altogether, which also tells whether a leap second is due."""
    assert setting("ProtectClock") == ["no"]
    assert setting("SystemCallFilter")[-1] == "adjtimex clock_adjtime"
    assert setting("CapabilityBoundingSet") == [""]
