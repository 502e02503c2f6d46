"""`timestamp-server plugins new`: what it writes, for every kind, is a distribution that passes its own tests."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import NoReturn

import pytest

from tests.import_graph import find_circle, import_graph, python_files
from tsa_backends.commands import run_command
from tsa_core.api import ConfigError
from tsa_core.cli.scaffold.new import KINDS, NewPlugin, refuse_taken_names, write_plugin
from tsa_core.testing import ServerProcess, encode_request, require_package

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}

# A plugin's own tests would do this: it makes the chain that a CA would issue for the key.
MAKE_CHAIN = """
import sys
from pathlib import Path
from typing import NoReturn
from tsa_core.testing import Pki
from tsa_signer_acmehsm.options import AcmeHsmOptions
from tsa_signer_acmehsm.plugin import tsa_signers
[provider] = tsa_signers()
signer = provider.open(AcmeHsmOptions(uri="acmehsm:tsa-key", token="open sesame"))
Pki().write_chain(Path(sys.argv[1]), signer.public_key)
"""

# As pip builds a wheel: the folder is the working directory.
BUILD = """
import os, sys
from hatchling.build import build_wheel
dist, *folders = sys.argv[1:]
for folder in folders:
    os.chdir(folder)
    build_wheel(dist)
"""


def run(
    *command: str | Path, cwd: Path, path: Path | None = None, status: int = 0, **environ: str
) -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": str(path)} if path else {}
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1", **paths, **environ},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == status, f"{command}:\n{result.stdout}{result.stderr}"
    return result


def server(*arguments: str, cwd: Path, path: Path | None = None, status: int = 0) -> subprocess.CompletedProcess[str]:
    if path is not None:
        return run(sys.executable, "-m", "tsa_core.cli.server", *arguments, cwd=cwd, path=path, status=status)
    result = run_command(*arguments, cwd=cwd)
    assert result.returncode == status, f"{arguments}:\n{result.stdout}{result.stderr}"
    return result


def need(*modules: str) -> None:
    for name in modules:
        require_package(name)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a plugin of each kind, all called like what they are, into one folder."""
    folder = tmp_path_factory.mktemp("workshop")
    for kind in KINDS:
        plugin = NewPlugin(kind=kind, title="acme-hsm" if kind == "signer" else f"acme-{kind}")
        write_plugin(plugin, folder / plugin.distribution)
    return folder


@pytest.fixture(scope="module")
def site(workshop: Path) -> Path:
    """Build a wheel of each and unpack it, which is what installing it would do."""
    need("hatchling")
    site, dist = workshop.parent / "site", workshop.parent / "dist"
    dist.mkdir()
    folders = sorted(workshop.iterdir())
    run(sys.executable, "-c", BUILD, dist, *folders, cwd=workshop)
    wheels = sorted(dist.glob("*.whl"))
    assert len(wheels) == len(folders)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    return site


def test_names_of_files(tmp_path: Path) -> None:
    result = server("plugins", "new", "acme-hsm", "--kind", "signer", cwd=tmp_path)
    assert len(result.stdout.splitlines()) == 10
    assert "pip install -e '.[test]'" in result.stderr
    folder = tmp_path / "tsa-signer-acmehsm"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "tests/test_acmehsm_signer.py",
        "tsa_signer_acmehsm/__init__.py",
        "tsa_signer_acmehsm/backend.py",
        "tsa_signer_acmehsm/options.py",
        "tsa_signer_acmehsm/plugin.py",
        "tsa_signer_acmehsm/py.typed",
        "tsa_signer_acmehsm/signer.py",
    ]


def test_none_has_an_import_circle(workshop: Path) -> None:
    graph = import_graph(python_files(workshop), sorted(workshop.iterdir()))
    assert find_circle(graph) == []
    hooks = [path for path in graph if path.name == "plugin.py"]
    assert len(hooks) == len(KINDS)
    assert [path for path in graph if "tests" not in path.parts and graph[path] & set(hooks)] == []


def test_each_passes_its_own_tests(workshop: Path, site: Path) -> None:
    folders = sorted(workshop.iterdir())
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, f"--rootdir={workshop}"]
    options = ["--import-mode=importlib", "-p", "no:cacheprovider", "-W", "error"]
    command: list[str | Path] = [*pytest_command, *options, *folders]
    output = run(*command, cwd=workshop, path=site, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1").stdout
    assert "passed" in output
    assert "failed" not in output
    assert "skipped" not in output


def test_each_is_formatted_and_typed(workshop: Path, site: Path) -> None:
    need("ruff", "mypy")
    modules = sorted(workshop.rglob("*.py"))
    run(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=workshop)
    run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".", cwd=workshop)
    config = workshop / "tsa-signer-acmehsm" / "pyproject.toml"
    run(sys.executable, "-m", "mypy", "--config-file", config, "--cache-dir", os.devnull, *modules, cwd=workshop)


def test_new_signer_is_listed_shown_and_serves(workshop: Path, site: Path, tmp_path: Path) -> None:
    assert "acmehsm\ttsa-signer-acmehsm\t0.1.0\t" in server("plugins", "list", cwd=tmp_path, path=site).stdout
    assert "[signer.acmehsm]" in server("plugins", "show", "acmehsm", cwd=tmp_path, path=site).stdout
    run(sys.executable, "-c", MAKE_CHAIN, tmp_path / "chain.pem", cwd=tmp_path, path=site)
    config = tmp_path / "tsa.toml"
    config.write_text(
        '[profiles.default]\nsigner = "acmehsm:tsa-key"\ncertificate_chain = "chain.pem"\n'
        '[signer.acmehsm]\ntoken = { env = "ACME_HSM_TOKEN" }\n'
    )
    environ = {"PYTHONPATH": str(site), "ACME_HSM_TOKEN": "open sesame"}
    with ServerProcess(config, environ=environ) as process:
        # PKIStatusInfo of a grant.
        assert bytes.fromhex("3003020100") in process.stamp(encode_request()).body[:16]


@pytest.mark.parametrize("name", ["Acme", "acme_hsm", "acme-", "-acme", "9acme", "acme hsm", "../acme", "a" * 25, ""])
def test_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    result = server("plugins", "new", "--", name, cwd=tmp_path, status=2)
    assert "cannot be a plugin's name; use lower-case letters, digits and dashes" in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    server("plugins", "new", "acme", "--directory", "here", cwd=tmp_path)
    (tmp_path / "here" / "README.md").write_text("mine")
    result = server("plugins", "new", "acme", "--directory", "here", cwd=tmp_path, status=2)
    assert "timestamp-server: error: here: it exists already and is not empty" in result.stderr
    assert (tmp_path / "here" / "README.md").read_text() == "mine"


@pytest.mark.parametrize("name", ["x", "a-name-of-maximal-length"])
def test_short_and_long_names_are_formatted_too(tmp_path: Path, name: str) -> None:
    need("ruff")
    for kind in KINDS:
        write_plugin(NewPlugin(kind=kind, title=name), tmp_path / kind)
    run(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=tmp_path)
    run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".", cwd=tmp_path)


@pytest.mark.plugin("file")
@pytest.mark.parametrize(
    ("name", "kind", "owner"),
    [
        ("file", "signer", "the plugin file (tsa-signer-file "),
        ("file", "clock", "the plugin file (tsa-signer-file "),
        ("f-ile", "signer", "the plugin file (tsa-signer-file "),
        ("system", "clock", "the plugin system (tsa-core "),
        ("serve", "command", "timestamp-server has the command 'serve' already"),
        ("lambda", "command", "'lambda' is a word of Python's"),
    ],
)
def test_a_name_that_is_taken_is_refused(tmp_path: Path, name: str, kind: str, owner: str) -> None:
    result = server("plugins", "new", name, "--kind", kind, cwd=tmp_path, status=2)
    assert f"timestamp-server: error: {owner}" in result.stderr
    assert f"choose another name than {name}" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_distribution_that_is_taken_is_refused(tmp_path: Path, fake_plugin: Callable[..., Path]) -> None:
    site = fake_plugin("other", "", distribution="tsa-signer-acme")
    result = server("plugins", "new", "acme", cwd=tmp_path, path=site, status=2)
    assert "the distribution tsa-signer-acme 1.0 is installed already; choose another name than acme" in result.stderr


@pytest.mark.parametrize(
    ("title", "kind", "owner"),
    [
        ("awskms", "signer", "tsa-signer-awskms"),
        ("aws-kms", "kek", "tsa-signer-awskms"),
        ("guard", "guard", "tsa-guard"),
        ("log", "command", "tsa-log"),
        ("gcp", "ca", "tsa-signer-gcpkms"),
        ("file", "audit", "tsa-audit-file"),
    ],
)
def test_a_name_of_another_plugin_of_ours_is_refused_where_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, title: str, kind: str, owner: str
) -> None:
    def not_installed(name: str) -> NoReturn:
        raise PackageNotFoundError(name)

    names = vars(sys.modules[refuse_taken_names.__module__])
    monkeypatch.setitem(names, "installed_plugins", dict)
    monkeypatch.setitem(names, "distribution", not_installed)
    with pytest.raises(ConfigError, match=f"^{owner}, which is not installed here, has the name .* already; choose"):
        refuse_taken_names(NewPlugin(kind=kind, title=title), ())
    refuse_taken_names(NewPlugin(kind=kind, title=f"acme-{title}"), ())
