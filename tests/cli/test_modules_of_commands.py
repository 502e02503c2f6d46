"""No command imports more than it needs: a ceiling on the modules of each, which no machine's load can change.

The first ceiling counts modules of packages, and holds for every Python. What modules of the standard library import
differs from Python to Python: the second one, of all modules, is for the oldest Python that is supported.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import CHAIN, honest
from tsa_core.cli.plugin_commands import names_in_metadata
from tsa_core.client import TimestampClient
from tsa_core.host import COMMAND_GROUP, GROUP, installed_plugins
from tsa_core.testing.http_tsa import HttpTsa

CLIENT = ("-m", "tsa_core.cli.timestamp")
SERVER = ("-c", "from tsa_core.cli.programs import timestamp_server; timestamp_server()")
"""As users start it: after a look at what is installed."""
VERIFY = ("verify", "--artifact", "a.txt", "--timestamp", "r.tsr", "--certificate-chain", "chain.pem")
PYDANTIC, HTTP = ("pydantic", "pydantic_core"), ("urllib3", "http.client", "ssl")
COMPILERS = ("dataclasses", "inspect")
FRAMEWORKS = ("click", "rich", *PYDANTIC, "pluggy", "asn1crypto", "importlib.metadata")
SSH = "cryptography.hazmat.primitives.serialization.ssh"


def imported(folder: Path, *arguments: str) -> set[str]:
    """Return the modules that a Python with these arguments imports to its end, those of its own start left out."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("TSA_", "TIMESTAMP_", "PYTHON"))
    }
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=folder,
        env={**environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "a.txt").write_bytes(b"hello")
    (folder / "chain.pem").write_bytes(CHAIN.pem)
    with HttpTsa(honest) as tsa:
        (folder / "r.tsr").write_bytes(TimestampClient(tsa.url).stamp(artifact=b"hello").reply)
    return folder


def check(modules: set[str], *, most: tuple[int, int], without: tuple[str, ...]) -> None:
    of_packages, of_all = most
    assert modules.isdisjoint(without), sorted(modules.intersection(without))
    packaged = sorted(name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names)
    assert len(packaged) <= of_packages, packaged
    assert len(modules) <= of_all or sys.version_info[:2] != (3, 11), sorted(modules)


def test_verify_imports_no_framework(files: Path) -> None:
    check(imported(files, *CLIENT, *VERIFY), most=(125, 220), without=(*FRAMEWORKS, *COMPILERS, *HTTP, SSH))


def test_the_client_imports_no_revocation_and_no_framework(files: Path) -> None:
    with HttpTsa(honest) as tsa:
        arguments = ("timestamp", "--artifact", "a.txt", "--out", "new.tsr", "--timestamp_server", tsa.url)
        modules = imported(files, *CLIENT, *arguments)
    others = ("tsa_core.client.revocation", "tsa_core.paths.crl_reader", "tsa_core.verify.verifier")
    rare = ("urllib3", "json", "html", "pathlib", "queue", SSH)
    check(modules, most=(123, 234), without=(*FRAMEWORKS, *COMPILERS, *rare, *others))


def test_inspect_imports_no_framework(files: Path) -> None:
    modules = imported(files, *CLIENT, "inspect", "--timestamp", "r.tsr")
    check(modules, most=(82, 177), without=(*FRAMEWORKS, *COMPILERS, *HTTP, SSH))


@pytest.mark.parametrize("arguments", [("--version",), ("probe", "--help"), ("evidence", "--help")])
def test_the_clients_rarer_help_imports_click_alone(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    without = [name for name in FRAMEWORKS if name != "click"]
    check(imported(tmp_path, *CLIENT, *arguments), most=(67, 170), without=(*without, *HTTP, "cryptography.x509"))


def test_the_help_lists_what_the_host_would_find() -> None:
    for group, names in names_in_metadata().items():
        found = installed_plugins(group=group)
        assert names == {name: f"{each[0].summary} ({each[0].distribution})" for name, each in found.items()}
    assert set(names_in_metadata()) == {COMMAND_GROUP, GROUP}


def test_the_servers_version_imports_click_alone(tmp_path: Path) -> None:
    without = [name for name in FRAMEWORKS if name != "click"]
    check(imported(tmp_path, *SERVER, "--version"), most=(34, 108), without=(*without, *HTTP, "cryptography.x509"))


def test_the_help_of_serve_imports_no_settings_where_click_shows_it(tmp_path: Path) -> None:
    without = [name for name in FRAMEWORKS if name != "click"]
    modules = imported(tmp_path, *SERVER, "help", "serve")
    check(modules, most=(46, 142), without=(*without, *HTTP, "cryptography.x509", "tsa_core.config", "tsa_core.api"))


def test_check_imports_nothing_of_a_server_that_serves(tmp_path: Path) -> None:
    serving = ("asyncio", "multiprocessing", "falcon", "waitress", "granian", "prometheus_client", "structlog")
    check(
        imported(tmp_path, *SERVER, "check"),
        most=(331, 510),
        without=(*serving, "packaging", "rich", "difflib", *HTTP),  # SSH comes with the plugin's Encoding
    )


def test_one_process_imports_nothing_that_starts_others(tmp_path: Path) -> None:
    modules = imported(tmp_path, "-c", "import tsa_core.cli.serve, tsa_core.hosting.serving")
    assert modules.isdisjoint({"multiprocessing", "tsa_core.hosting.workers"})


def test_the_server_loads_no_plugins_of_pydantic(tmp_path: Path) -> None:
    (tmp_path / "spying.py").write_text("plugin = None\n")
    metadata = tmp_path / "spying-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: spying\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[pydantic]\nspying = spying:plugin\n")
    program = (
        "import sys; sys.path.append('.'); from tsa_core.cli.server import program; sys.argv[1:] = ['check']; program()"
    )
    assert "spying" not in imported(tmp_path, "-c", program)
