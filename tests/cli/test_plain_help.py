"""The help that is shown without click is what click shows, on terminals of every width, whatever is installed."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import pytest

from tests.cli.help_pages import PAGES, context, page
from tests.cli.test_modules_of_commands import CLIENT, SERVER, imported
from tsa_core.cli.plain_help import NAMES, help_page, pages, written
from tsa_core.cli.server import commands_of_plugins

CURRENT = tuple(map(int, importlib.metadata.version("click").split(".")[:2])) >= (8, 4)
WORDS = {name: ([command] if command else []) for name, (_, command) in PAGES.items()}


def program_of(name: str) -> str:
    return name.removesuffix(f"-{WORDS[name][0]}") if WORDS[name] else name


@pytest.mark.needs(CURRENT, "older versions of click write defaults otherwise")
@pytest.mark.parametrize("name", PAGES)
def test_the_pages_are_those_of_the_commands(name: str) -> None:
    assert pages()[name] == page(name), "python -m tests.cli.help_pages --write makes them anew"


def test_there_are_no_other_pages() -> None:
    assert set(pages()) == set(PAGES) == NAMES


@pytest.mark.plugin("memory")
@pytest.mark.needs(CURRENT, "older versions of click break lines otherwise")
@pytest.mark.parametrize("asks", ["--help", "-h"])
@pytest.mark.parametrize("name", PAGES)
def test_every_line_is_broken_as_click_breaks_it(name: str, asks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [each for each in os.environ if each.startswith(("TIMESTAMP_", "_TIMESTAMP"))]:
        monkeypatch.delenv(variable)
    for columns in (20, *range(50, 104), 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        shown = help_page(program_of(name), [*WORDS[name], asks], commands_of_plugins)
        assert shown == context(name).get_help(), columns


def test_words_longer_than_a_line_are_broken_where_it_ends() -> None:
    operations = [["text", f"a {'b-' * 60}"], ["dl", "n", "x" * 90]]
    assert max(map(len, written(operations, 0).splitlines())) == 50


@pytest.mark.parametrize(
    "words",
    [
        ["bogus", "--help"],
        ["serve", "--port", "--help"],
        ["../help", "-h"],
        ["x" * 5000, "-h"],
        ["serve"],
        ["serve", "--version"],
    ],
)
def test_everything_else_is_clicks(words: list[str]) -> None:
    assert help_page("timestamp-server", words) is None


def test_a_shell_that_asks_for_completions_is_clicks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TIMESTAMP_SERVER_COMPLETE", "bash_complete")
    assert help_page("timestamp-server", ["serve", "--help"]) is None


@pytest.mark.plugin("memory")
@pytest.mark.parametrize(
    "arguments",
    [(*SERVER, "check", "--help"), (*SERVER, "serve", "-h"), (*CLIENT, "--help"), (*CLIENT, "verify", "--help")],
)
def test_help_imports_neither_click_nor_anything_of_its_command(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    modules = imported(tmp_path, *arguments)
    assert modules.isdisjoint({"click", "inspect", "importlib.metadata", "tsa_core.config", "pathlib", "shutil"})
    assert len(modules) <= 95, sorted(modules)


@pytest.mark.plugin("memory")
def test_the_servers_help_reads_metadata_of_plugins_without_click_and_their_host(tmp_path: Path) -> None:
    modules = imported(tmp_path, *SERVER, "--help")
    assert modules.isdisjoint({"click", "tsa_core.config", "tsa_core.host", "pydantic", "rich"})
    assert len(modules) <= 160, sorted(modules)
