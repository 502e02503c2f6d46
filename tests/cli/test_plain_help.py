"""The help that is shown without click is what click shows, on terminals of every width, whatever is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

import pytest

from tests.cli.help_pages import PAGES, context, page
from tests.cli.test_modules_of_commands import CLIENT, SERVER, imported
from tsa_core.cli.metadata_files import names_in_files
from tsa_core.cli.plain_help import FOLDER, decoded, help_page, written
from tsa_core.cli.plugin_commands import names_in_metadata

CURRENT = tuple(map(int, importlib.metadata.version("click").split(".")[:2])) >= (8, 4)
WORDS = {name: ([command] if command else []) for name, (_, command) in PAGES.items()}


def program_of(name: str) -> str:
    return name.removesuffix(f"-{WORDS[name][0]}") if WORDS[name] else name


@pytest.mark.needs(CURRENT, "older versions of click write defaults otherwise")
@pytest.mark.parametrize("name", PAGES)
def test_the_pages_are_those_of_the_commands(name: str) -> None:
    found = (Path(FOLDER) / f"{name}.txt").read_text(encoding="ascii")
    assert found == page(name), "python -m tests.cli.help_pages --write makes them anew"


def test_there_are_no_other_pages() -> None:
    assert {each.stem for each in Path(FOLDER).iterdir()} == set(PAGES)


@pytest.mark.plugin("memory")
@pytest.mark.needs(CURRENT, "older versions of click break lines otherwise")
@pytest.mark.parametrize("asks", ["--help", "-h"])
@pytest.mark.parametrize("name", PAGES)
def test_every_line_is_broken_as_click_breaks_it(name: str, asks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [each for each in os.environ if each.startswith(("TIMESTAMP_", "_TIMESTAMP"))]:
        monkeypatch.delenv(variable)
    for columns in (20, *range(50, 104), 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        shown = help_page(program_of(name), [*WORDS[name], asks])
        assert shown == context(name).get_help(), columns


def test_words_longer_than_a_line_are_broken_where_it_ends() -> None:
    operations = [["text", f"a {'b-' * 60}"], ["dl", "n", "x" * 90]]
    assert max(map(len, written(operations, 0).splitlines())) == 50


@pytest.mark.parametrize(
    "words", [["bogus", "--help"], ["serve", "--port", "--help"], ["../help", "-h"], ["serve"], ["serve", "--version"]]
)
def test_everything_else_is_clicks(words: list[str]) -> None:
    assert help_page("timestamp-server", words) is None


def test_a_shell_that_asks_for_completions_is_clicks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TIMESTAMP_SERVER_COMPLETE", "bash_complete")
    assert help_page("timestamp-server", ["serve", "--help"]) is None


def test_a_line_of_a_page_holds_every_character() -> None:
    assert decoded("text\ta\\tb\\n\\\\ \\xe9\n") == ["text", "a\tb\n\\ é"]


def metadata(folder: Path, name: str, *, entries: str, headers: str) -> None:
    place = folder / name
    place.mkdir()
    (place / "entry_points.txt").write_text(entries, encoding="utf-8")
    (place / ("METADATA" if name.endswith("dist-info") else "PKG-INFO")).write_text(headers, encoding="utf-8")


def test_what_is_installed_is_found_as_by_importlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names_in_files() in (names_in_metadata(), None)
    entries = "# a comment\n[console_scripts]\nx = y:z\n\n[tsa_core.commands]\n  odd = odd.plugin\nlog=mine\n"
    headers = "Metadata-Version: 2.1\nName: odd-one\nVersion: 1\nSummary: é: an odd one\n\nName: not this\n"
    metadata(tmp_path, "odd_one-1.dist-info", entries=entries, headers=headers)
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", str(tmp_path / "missing"), *sys.path])
    found = names_in_files()
    assert found == names_in_metadata()
    assert found is not None
    assert found["tsa_core.commands"]["odd"] == "é: an odd one (odd-one)"
    assert found["tsa_core.commands"]["log"] == "é: an odd one (odd-one)"


@pytest.mark.parametrize(
    ("entries", "headers"),
    [
        ("[tsa_core.commands]\nno equals sign\n", "Name: a\n\n"),
        ("[tsa_core.commands]\na = b\n", "Summary: without a name\n\n"),
        ("[tsa_core.commands]\na = b\n", "Name: a\nSummary: one\n  and more\n\n"),
        ("[tsa_core.commands]\na = b\n[tsa_core.commands]\nc = d\n", "Name: a\n\n"),
    ],
    ids=["no entry", "no name", "folded", "twice"],
)
def test_unusual_metadata_are_left_to_importlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: str, headers: str
) -> None:
    metadata(tmp_path, "a-1.dist-info", entries=entries, headers=headers)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert names_in_files() is None


def test_archives_on_the_path_and_finders_of_others_are_left_to_importlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "packages.zip"
    archive.write_bytes(b"")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "path", [str(archive)])
        assert names_in_files() is None

    class Finder:
        def find_distributions(self, _context: object) -> list[object]:
            return []

    with monkeypatch.context() as patched:
        patched.setattr(sys, "path", [])
        patched.setattr(sys, "meta_path", [Finder()])
        assert names_in_files() is None


@pytest.mark.plugin("memory")
@pytest.mark.parametrize(
    "arguments", [(*SERVER, "--help"), (*SERVER, "serve", "-h"), (*CLIENT, "--help"), (*CLIENT, "verify", "--help")]
)
def test_help_imports_neither_click_nor_anything_of_its_command(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    modules = imported(tmp_path, *arguments)
    assert modules.isdisjoint({"click", "inspect", "importlib.metadata", "tsa_core.config", "pathlib", "shutil"})
    assert len(modules) <= 95, sorted(modules)
