"""Verification and the client work without the packages of the extra `server`, and the server's programs say so."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.cli.timestamp_shell import CHAIN, honest
from tsa_core.client import TimestampClient
from tsa_core.server_extra import MODULES, missing_modules
from tsa_core.testing.http_tsa import HttpTsa

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRA = PROJECT["optional-dependencies"]["server"]
WITHOUT = f"""
import sys
sys.modules.update(dict.fromkeys({MODULES!r}))  # importing them fails, and no finder finds them
"""
CLIENT = f"{WITHOUT}from tsa_core.cli.timestamp import main\nmain()"
EVERYTHING = f"""{WITHOUT}
import importlib, pkgutil, tsa_core
for room in ("cli.timestamp", "client", "cose", "evidence", "extract", "paths", "protocol", "verify"):
    package = importlib.import_module("tsa_core." + room)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        print(module.name)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verified")
    (folder / "a.txt").write_bytes(b"hello")
    (folder / "chain.pem").write_bytes(CHAIN.pem)
    with HttpTsa(honest) as tsa:
        (folder / "r.tsr").write_bytes(TimestampClient(tsa.url).stamp(artifact=b"hello").reply)
    return folder


def python(folder: Path, program: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("TSA_", "TIMESTAMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**environ, "HOME": str(folder), "FORCE_COLOR": "1"},  # as on a terminal, where rich would print tables
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    return done


def test_the_list_has_every_module_of_the_extra() -> None:
    found: set[str] = set()
    for text in EXTRA:
        files = distribution(Requirement(text).name).files or []
        found |= {path.parts[0] for path in files if path.parts[1:] == ("__init__.py",) and path.parts[0][0] != "_"}
    assert found == set(MODULES)
    assert missing_modules() == []


def test_every_module_that_verifies_is_imported_without_the_extra(tmp_path: Path) -> None:
    names = python(tmp_path, EVERYTHING).stdout.split()
    assert {"tsa_core.verify.verifier", "tsa_core.client.client", "tsa_core.cli.timestamp.verify"} <= set(names)


def test_the_client_stamps_verifies_and_inspects_without_the_extra(files: Path) -> None:
    with HttpTsa(honest) as tsa:
        stamp = ("timestamp", "--artifact", "a.txt", "--out", "new.tsr", "--timestamp_server", tsa.url)
        assert "Artifact timestamped" in python(files, CLIENT, *stamp).stdout
    given = ("--artifact", "a.txt", "--timestamp", "r.tsr", "--certificate-chain", "chain.pem")
    assert "Successfully verified" in python(files, CLIENT, "verify", *given).stdout
    assert "Policy" in python(files, CLIENT, "inspect", "--timestamp", "r.tsr").stdout
    assert "tsa-core" in python(files, CLIENT, "version").stdout


def test_many_files_are_stamped_and_verified_without_the_extra(files: Path) -> None:
    many = files / "many"
    many.mkdir()
    for name in ("one", "two"):
        (many / name).write_text(name)
    with HttpTsa(honest) as tsa:
        python(files, CLIENT, "timestamp", "--timestamp_server", tsa.url, "many", "--each")
    done = python(files, CLIENT, "verify", "many", "--certificate-chain", "chain.pem")
    assert sorted(line.split("\t")[0] for line in done.stdout.splitlines()) == ["many/one", "many/two"]


def test_a_configuration_in_yaml_asks_for_pyyaml(files: Path) -> None:
    (files / "client.yaml").write_text("timeout: 3\n")
    failed = python(files, CLIENT, "--config", "client.yaml", "inspect", "--timestamp", "r.tsr", code=2)
    assert "PyYAML is not installed" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("program", ["timestamp_server", "fetch_tsa_certs", "certificate_maker"])
def test_a_program_of_the_server_says_in_one_line_what_to_install(tmp_path: Path, program: str) -> None:
    failed = python(tmp_path, f"{WITHOUT}from tsa_core.cli import programs\nprograms.{program}()", "--version", code=2)
    assert failed.stderr.startswith(f"{program.replace('_', '-')}: error: ")
    assert "falcon, granian" in failed.stderr
    assert "[server]" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_a_wsgi_server_is_told_what_to_install(tmp_path: Path) -> None:
    failed = python(tmp_path, f"{WITHOUT}from tsa_core.wsgi import create_app", code=2)
    assert failed.stderr.startswith("tsa_core.wsgi: error: ")
    assert failed.stderr.count("\n") == 1
