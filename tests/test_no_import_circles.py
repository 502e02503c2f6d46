"""No file of the repository imports another one that, in the end, imports it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tests.import_graph import ImportGraph, find_circle, import_graph, python_files

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("tsa_core", "plugins", "examples", "tests", "bench")


@cache
def repository() -> ImportGraph:
    distributions = [path.parent for room in ("plugins", "examples") for path in (ROOT / room).glob("*/pyproject.toml")]
    files = [path for room in ROOMS if (ROOT / room).is_dir() for path in python_files(ROOT / room)]
    return import_graph([*files, ROOT / "conftest.py"], [ROOT, ROOT / "tests" / "backends", *distributions])


def graph_of(folder: Path, files: dict[str, str]) -> ImportGraph:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return import_graph(python_files(folder), [folder])


def imported(graph: ImportGraph, name: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in graph[ROOT / name]}


def test_the_repository_has_no_import_circle() -> None:
    assert [str(path.relative_to(ROOT)) for path in find_circle(repository())] == []


def test_the_graph_has_the_imports_of_every_kind_of_file() -> None:
    graph = repository()
    assert {path.relative_to(ROOT).parts[0] for path in graph} >= {*ROOMS, "conftest.py"}
    signer = "plugins/tsa-signer-file/tsa_signer_file"
    trail = "plugins/tsa-audit-file/tests"
    assert "tsa_core/api/errors.py" in imported(graph, "tsa_core/api/signer.py")
    assert f"{signer}/options.py" in imported(graph, f"{signer}/plugin.py")
    assert f"{signer}/signer.py" in imported(graph, f"{signer}/plugin.py")  # inside a function
    assert f"{trail}/trail.py" in imported(graph, f"{trail}/test_audit_journal.py")  # relative
    assert "tests/backends/tsa_backends/ministack.py" in imported(
        graph, "plugins/tsa-signer-awskms/tests/test_awskms_life.py"
    )
    assert "tsa_core/api/__init__.py" in imported(graph, f"{signer}/options.py")


@pytest.mark.parametrize(
    "back",
    [
        "from house.attic import roof\n",
        "import house.attic\n",
        "from house import attic\n",
        "from . import attic\n",
        "from .attic import roof\n",
        "def open_door():\n    from house.attic import roof\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.attic import roof\n",
        "try:\n    import house.attic as above\nexcept ImportError:\n    above = None\n",
    ],
)
def test_a_circle_is_found_however_it_is_imported(tmp_path: Path, back: str) -> None:
    graph = graph_of(
        tmp_path,
        {
            "house/__init__.py": "from house.cellar import floor\n",
            "house/attic.py": "from house.stairs import steps\n",
            "house/stairs.py": "import house.cellar\n",
            "house/cellar.py": back,
        },
    )
    circle = [path.stem for path in find_circle(graph)]
    assert circle[0] == circle[-1]
    assert set(circle) == {"attic", "stairs", "cellar"}
    assert (circle[circle.index("attic") + 1 :] or circle[1:])[0] == "stairs"  # the order in which they import


def test_a_package_that_imports_its_modules_is_no_circle(tmp_path: Path) -> None:
    graph = graph_of(
        tmp_path,
        {
            "house/__init__.py": "from house.attic import roof\n",
            "house/attic.py": "from house.cellar import floor\n",
            "house/cellar.py": "import json\n",
            "street.py": "import house.attic, house\n",
        },
    )
    assert find_circle(graph) == []


def test_a_module_that_imports_a_name_from_its_package_is_a_circle(tmp_path: Path) -> None:
    graph = graph_of(
        tmp_path, {"house/__init__.py": "from house.attic import roof\n", "house/attic.py": "from house import door\n"}
    )
    assert len(find_circle(graph)) == 3
