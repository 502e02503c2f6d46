"""The maps in the documentation are complete: index of decisions, table of rooms, picture of imports."""

from __future__ import annotations

import importlib.util
import re
from graphlib import CycleError
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
DECISIONS = ROOT / "docs" / "decisions"


def drawing_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("import_graph", ROOT / ".ci" / "import_graph.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_index_of_decisions_names_each_once_by_its_number() -> None:
    index = (DECISIONS / "index.md").read_text(encoding="utf-8")
    lines = re.findall(r"^- \[(\d{3})\]\((\d{3}-[a-z0-9-]+\.md)\): \S", index, re.MULTILINE)
    assert all(file.startswith(f"{number}-") for number, file in lines)
    assert sorted(file for _, file in lines) == sorted(
        path.name for path in DECISIONS.glob("[0-9]*.md") if path.name != "000-template.md"
    )


def test_map_in_contributing_names_each_room_and_no_other() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("<!-- map -->")[2].partition("The way of a request")[0]
    first_cells = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    named = {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}
    rooms = {f"{path.name}/" for path in (ROOT / "tsa_core").iterdir() if (path / "__init__.py").is_file()}
    modules = {path.name for path in (ROOT / "tsa_core").glob("*.py") if path.name != "__init__.py"}
    assert named == rooms | modules


def test_files_that_the_map_names_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    walk = text.partition("The way of a request")[2].partition("<!-- end of the map -->")[0]
    named = re.findall(r"`([a-z0-9_]+/[a-z0-9_/.]*|[a-z0-9_]+\.py)`", walk)
    assert len(named) > 20
    missing = [name for name in named if not ((ROOT / "tsa_core" / name).exists() or (ROOT / name).exists())]
    assert not missing


@pytest.mark.package("grimp", install="import-linter")
def test_picture_of_imports_is_what_the_source_gives() -> None:
    script = drawing_script()
    drawn = script.DRAWING.read_text(encoding="utf-8")
    assert script.drawing(script.rooms()) == drawn, "run `make import-graph` and commit the picture"


@pytest.mark.package("grimp", install="import-linter")
def test_a_circle_is_named_and_not_drawn() -> None:
    script = drawing_script()
    with pytest.raises(CycleError) as caught:
        script.drawing({"http": {"api"}, "api": {"protocol"}, "protocol": {"api"}})
    assert script.circle(caught.value) in {
        "api imports protocol, protocol imports api",
        "protocol imports api, api imports protocol",
    }


@pytest.mark.package("grimp", install="import-linter")
def test_arrows_that_follow_from_others_are_left_out() -> None:
    script = drawing_script()
    graph = {"cli": {"http", "api"}, "http": {"api"}, "api": set()}
    assert script.without_implied(graph) == {"cli": {"http"}, "http": {"api"}, "api": set()}
