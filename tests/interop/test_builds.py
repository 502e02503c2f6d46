"""The clients in other languages are built once, however many of the test runner's workers want them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.interop import builds


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of languages with one file, and an empty cache."""
    folder = tmp_path / "sources" / "tongue"
    folder.mkdir(parents=True)
    (folder / "client.txt").write_text("hello", encoding="ascii")
    monkeypatch.setattr(builds, "HERE", folder.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_two_that_come_together_build_once(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Path] = []
    second = threading.Event()

    def build(folder: Path) -> None:
        begun.append(folder)
        if len(begun) == 2:
            second.set()
        second.wait(0.3)

    language = builds.Language(name="tongue", tools={}, build=build, start=())
    monkeypatch.setitem(builds.LANGUAGES, "tongue", language)
    with ThreadPoolExecutor(2) as pool:
        places = set(pool.map(builds.built, ["tongue", "tongue"]))
    assert len(places) == len(begun) == 1
    assert (places.pop() / "client.txt").read_text(encoding="ascii") == "hello"


def test_a_build_that_fails_leaves_nothing_and_is_tried_again(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Path] = []

    def build(folder: Path) -> None:
        tries.append(folder)
        if len(tries) == 1:
            raise builds.BuildFailed("no network")

    language = builds.Language(name="tongue", tools={}, build=build, start=())
    monkeypatch.setitem(builds.LANGUAGES, "tongue", language)
    with pytest.raises(builds.BuildFailed, match="no network"):
        builds.built("tongue")
    assert builds.built("tongue").is_dir()
    assert len(tries) == 2
