"""The start, a reload and check say which plugins are selected, and of which kinds there are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.rotation import TsaDirectory
from tsa_backends.commands import run_command
from tsa_core import __version__

pytestmark = [pytest.mark.plugin("file"), pytest.mark.plugin("auditfile"), pytest.mark.plugin("memory")]

AUDITED = '[audit]\nsinks = ["auditfile"]\n[audit.auditfile]\npath = "audit.jsonl"\n'
NONE = "policy selectors: oid; response processors: none; audit sinks: none; observers: none; health checks: none"
NONE += "; routes: none; guards: none"


def test_check_lists_them_with_their_distributions(tmp_path: Path) -> None:
    config = tmp_path / "tsa.toml"
    config.write_text(f'[profiles.default]\nsigner = "memory:"\n[profiles.other]\nsigner = "memory:"\n{AUDITED}')
    selected = json.loads(run_command("check", "--json", "--config", str(config)).stdout)["selected"]
    assert selected == {
        "signers": [{"name": "memory", "distribution": f"tsa-signer-memory {__version__}"}],
        "clock": [{"name": "system", "distribution": f"tsa-core {__version__}"}],
        "clock_monitors": [],
        "policy_selectors": [{"name": "oid", "distribution": f"tsa-core {__version__}"}],
        "response_processors": [],
        "audit_sinks": [{"name": "auditfile", "distribution": f"tsa-audit-file {__version__}"}],
        "observers": [],
        "health_checks": [],
        "routes": [],
        "guards": [],
    }
    lines = run_command("check", "--config", str(config)).stdout.splitlines()
    assert [line.split() for line in lines if line.startswith(("audit sinks", "observers"))] == [
        ["audit", "sinks", "auditfile", "tsa-audit-file", __version__],
        ["observers", "none"],
    ]


def test_start_and_reload_list_them(tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path)
    with tsa.served("waitress") as server:
        assert f"plugins: signers: file; clock: system; clock monitors: none; {NONE}" in server.log
        with tsa.config.open("a") as stream:
            stream.write(AUDITED)
        reloaded = run_command("reload", "--config", str(tsa.config), environ={"COLUMNS": "300"})
    assert reloaded.returncode == 0
    assert "; audit sinks: auditfile, before none" in reloaded.stdout
