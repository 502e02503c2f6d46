"""What must hold across the repository: its lists agree, its rooms stay small, its scripts run."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tsa_core.testing import missing, require_program

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/*/pyproject.toml"))
MODULES = sorted(
    path
    for room in ("tsa_core", "plugins")
    for path in (ROOT / room).rglob("*.py")
    if not any(part.startswith(".") or part in {"build", "dist"} for part in path.relative_to(ROOT).parts)
)

# In two halves, so that this file passes its own test.
REGISTRIES = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "npmjs" + ".org",
    "npmjs" + ".com",
    "crates" + ".io",
    "proxy.golang" + ".org",
    "repo.maven" + ".apache.org",
    "rubygems" + ".org",
    "anaconda" + ".org",
)

each_plugin = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)


def metadata(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def project(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = metadata(folder)["project"]
    return table


def package(plugin: Path) -> str:
    return plugin.name.replace("-", "_")


def tracked_files() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        missing("which files are tracked is known in a git checkout only")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def imported_modules(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from tsa_core import config` imports tsa_core.config as much as `import tsa_core.config` does.
            whole = {"tsa_core"} & {node.module}
            found.update(f"{node.module}.{alias.name}" for alias in node.names if whole)
            found.update({node.module} - whole)
    return found


def test_there_are_plugins_to_check() -> None:
    assert {"tsa-signer-file", "tsa-signer-memory"} <= {plugin.name for plugin in PLUGINS}
    assert len(MODULES) > len(PLUGINS)


def test_every_plugin_folder_is_a_distribution() -> None:
    folders = [path for path in (ROOT / "plugins").iterdir() if path.is_dir() and any(path.rglob("*.py"))]
    assert sorted(folders) == PLUGINS


def test_requirements_dev_installs_every_package_of_the_repository() -> None:
    text = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    editable = re.findall(r"^-e (\S+)$", text, flags=re.MULTILINE)
    assert editable == [".[server]", *(f"plugins/{plugin.name}" for plugin in PLUGINS)]


def test_tox_tests_every_plugin_alone() -> None:
    text = (ROOT / "tox.ini").read_text(encoding="utf-8")
    factors = re.findall(r"plugin-\{([^}]*)\}", text)
    assert len(factors) == 2  # in env_list, and the section itself
    for listed in factors:
        assert [name.strip() for name in listed.split(",")] == [plugin.name[len("tsa-") :] for plugin in PLUGINS]


@each_plugin
def test_readme_and_docs_list_every_plugin(plugin: Path) -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "plugin" / "index.md"):
        if page.is_file():
            assert plugin.name in page.read_text(encoding="utf-8"), page.name


def test_readme_names_no_plugin_that_is_not_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\|[^|]*?\b(tsa-(?:signer|clock|monitor|policy|response|audit|observer|health|ca|kek)-[a-z0-9]+)\b",
        text,
        re.MULTILINE,
    )
    assert set(rows) <= {plugin.name for plugin in PLUGINS}


def test_readme_opens_with_both_commands() -> None:
    first_screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40]
    for command in ("make serve", "make test"):
        assert any(command in line for line in first_screen), command


@each_plugin
def test_plugin_has_the_version_of_the_core_and_depends_on_its_range(plugin: Path) -> None:
    version = project(ROOT)["version"]
    release = Version(version)
    assert project(plugin)["version"] == version
    expected = f"tsa-core[server]>={release.major}.{release.minor},<{release.major}.{release.minor + 1}"
    assert [text for text in project(plugin)["dependencies"] if Requirement(text).name == "tsa-core"] == [expected]


@each_plugin
def test_plugin_metadata_is_complete(plugin: Path) -> None:
    table = project(plugin)
    core = project(ROOT)
    assert table["name"] == plugin.name
    for field in ("license", "requires-python", "readme", "authors"):
        assert table[field] == core[field], field
    assert table["description"]
    assert "tsa-core-plugin" in table["keywords"]
    assert table["urls"]
    assert (plugin / table["readme"]).is_file()
    assert (plugin / package(plugin) / "py.typed").is_file()
    assert metadata(plugin)["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [package(plugin)]
    entry_points = table["entry-points"]["tsa_core.plugins"]
    assert entry_points
    # A hook after a colon tells `plugins list` the kind where the distribution's name does not.
    assert {value.partition(":")[0] for value in entry_points.values()} == {f"{package(plugin)}.plugin"}


@each_plugin
def test_plugin_imports_the_api_and_no_other_room_or_plugin(plugin: Path) -> None:
    others = {package(other) for other in PLUGINS if other != plugin}
    for module in (plugin / package(plugin)).rglob("*.py"):
        for name in imported_modules(ast.parse(module.read_text(encoding="utf-8"))):
            root, _, rest = name.partition(".")
            assert root not in others, f"{module.name} imports {name}"
            assert root != "tsa_core" or rest.split(".")[0] == "api", f"{module.name} imports {name}"


@each_plugin
def test_hooks_and_options_load_no_sdk(plugin: Path) -> None:
    for module in ("plugin.py", "options.py"):
        tree = ast.parse((plugin / package(plugin) / module).read_text(encoding="utf-8"))
        at_import = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        imported = imported_modules(at_import) - {f"{package(plugin)}.options"}
        assert {name.partition(".")[0] for name in imported} <= {*sys.stdlib_module_names, "tsa_core", "pydantic"}


@pytest.mark.parametrize("folder", [*PLUGINS, *EXAMPLES], ids=lambda folder: folder.name)
def test_plugin_module_has_hooks_only_and_nothing_imports_it(folder: Path) -> None:
    for name in [path.parent for path in folder.glob("tsa_*/plugin.py")]:
        hooks = ast.parse((name / "plugin.py").read_text(encoding="utf-8"))
        assert [node.name for node in hooks.body if isinstance(node, ast.ClassDef)] == [], name
        for module in name.rglob("*.py"):
            imported = imported_modules(ast.parse(module.read_text(encoding="utf-8")))
            assert f"{name.name}.plugin" not in imported, module


def test_oldest_constraints_are_the_floors_that_the_core_and_its_own_signers_declare() -> None:
    lines = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    floors = [*project(ROOT)["dependencies"], *project(ROOT)["optional-dependencies"]["server"]]
    for name in ("file", "memory"):
        more = project(ROOT / "plugins" / f"tsa-signer-{name}")["dependencies"]
        floors += [text for text in more if text not in floors and not text.startswith("tsa-core")]
    assert pinned == [text.replace(">=", "==") for text in floors]


def test_no_module_exceeds_400_lines() -> None:
    """Tests and benchmarks neither."""
    modules = [*MODULES, *(path for room in ("tests", "bench", "examples") for path in (ROOT / room).rglob("*.py"))]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules}
    assert {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > 400} == {}


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert [path for path in MODULES if path.name in drawers] == []


def test_test_modules_have_unique_names() -> None:
    names = [path.name for room in ("tests", "plugins") for path in (ROOT / room).rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_no_tracked_file_names_a_package_registry() -> None:
    hosts = re.compile("|".join(map(re.escape, REGISTRIES)).encode())
    found = {str(path.relative_to(ROOT)): hosts.findall(path.read_bytes()) for path in tracked_files()}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_text_installs_a_package_of_ours_by_its_bare_name() -> None:
    """On the public index tsa-core is a stranger's, and the plugins' names are anybody's."""
    bare = re.compile(rb"pip install (?:-\S+ )*['\"]?tsa-[a-z]")
    found = {str(path.relative_to(ROOT)): bare.findall(path.read_bytes()) for path in tracked_files()}
    assert {path: names for path, names in found.items() if names} == {}


def test_make_serve_names_a_plugin_that_is_not_there() -> None:
    make = require_program("make")
    command = (make, "--dry-run", "serve", "PLUGINS=nosuch tink")
    result = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    assert result.returncode == 2
    assert "There is no plugin nosuch; there are: audit-file " in result.stderr
    assert " tink" in result.stderr


def test_no_tracked_file_is_a_certificate_a_key_or_a_token() -> None:
    """Tests make theirs on the spot; what others published stays outside (decision 135)."""
    pem = re.compile(rb"^-----BEGIN [A-Z0-9 ]+-----\r?$", re.MULTILINE)
    der = re.compile(rb"\A\x30[\x02-\x84]")  # a short SEQUENCE, or one with a length of 1 to 4 octets
    contents = {str(path.relative_to(ROOT)): path.read_bytes() for path in tracked_files()}
    assert {name for name, data in contents.items() if pem.search(data) or (der.match(data) and b"\0" in data)} == set()


def test_shell_scripts_are_executable_and_parse() -> None:
    bash = require_program("bash")
    scripts = [path for path in tracked_files() if re.match(rb"#!.*\b(ba)?sh\b", path.read_bytes()[:80])]
    assert ROOT / ".ci" / "run" in scripts
    for script in scripts:
        assert os.access(script, os.X_OK), script
        subprocess.run([bash, "-n", script], check=True)


def test_make_prints_every_target() -> None:
    make = require_program("make")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    printed = subprocess.run([make], cwd=ROOT, capture_output=True, check=True, text=True, env=environment).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert re.search(rf"^  {re.escape(target)} ", printed, flags=re.MULTILINE), target
