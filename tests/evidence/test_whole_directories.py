"""What whoever may edit a state directory can take out of it, and what a verification says then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.evidence.authorities import Authority, at, trusting
from tsa_core.evidence import EvidenceVerifier
from tsa_core.evidence.state import (
    Batch,
    StateDirectory,
    StateError,
    add_files,
    check_batch,
    check_links,
    renew_batches,
)
from tsa_core.evidence.state.completeness import unlisted_leaves

FIRST = Authority("First", "p256", start=at(2020), end=at(2028))
SECOND = Authority("Second", "p256", start=at(2025), end=at(2040))
VERIFIER = EvidenceVerifier(trusting(FIRST, SECOND))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDirectory:
    """Three batches, of two files each."""
    monkeypatch.chdir(tmp_path)
    made = StateDirectory.create(tmp_path / "state")
    for number in (1, 2, 3):
        for name in ("x", "y"):
            Path(f"{number}{name}").write_text(f"{number}{name}")
        add_files(made, [f"{number}x", f"{number}y"], FIRST.at(at(2023 + number)))
    return made


def problems(state: StateDirectory, year: int = 2027) -> list[str]:
    batches = state.batches()
    found = [f"{batch.name}: {problem}" for batch, problem in check_links(batches, VERIFIER, time=at(year))]
    for batch in batches:
        checked = check_batch(batch, VERIFIER, time=at(year))
        found += [f"{batch.name}: {each.problem}" for each in checked if each.problem]
    return found


def folder(state: StateDirectory, number: int) -> Path:
    return state.folder_of(number)


def edit(batch: Path, **changes: object) -> None:
    document = json.loads((batch / "batch.json").read_text())
    document = {name: value for name, value in {**document, **changes}.items() if value is not None or name != "link"}
    (batch / "batch.json").write_text(json.dumps(document))


def renumber(state: StateDirectory, removed: int) -> None:
    shutil.rmtree(folder(state, removed))
    for number in range(removed + 1, 4):
        folder(state, number).rename(folder(state, number - 1))


def unlink(state: StateDirectory) -> None:
    shutil.rmtree(folder(state, 2))
    edit(folder(state, 3), link=None)


def exchange_link(state: StateDirectory) -> None:
    shutil.rmtree(folder(state, 2))
    text = (folder(state, 3) / "1.link").read_text().partition("previous ")[0]
    root = state.batches()[0].tree(0).root.hex()
    (folder(state, 3) / "1.link").write_text(f"{text}previous sha256:{root}\n")


def cut_list(state: StateDirectory) -> None:
    path = folder(state, 2) / "1.objects"
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    edit(folder(state, 2), objects=1)


def test_a_directory_that_has_all_is_verified(state: StateDirectory) -> None:
    assert problems(state) == []
    assert [batch.chains[0].leaves for batch in state.batches()] == [3, 3, 3]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda state: shutil.rmtree(folder(state, 2)), "000003: the batch before it was removed or exchanged"),
        (lambda state: shutil.rmtree(folder(state, 1)), "000002: the batch before it was removed or exchanged"),
        (lambda state: renumber(state, 1), "000001: the batch before it was removed or exchanged (there is none)"),
        (lambda state: renumber(state, 2), "000002: the batch before it was removed or exchanged (000001 is another"),
        (lambda state: folder(state, 3).rename(folder(state, 7)), "000007: it is batch 3: its folder was renamed"),
        (unlink, "000003: it has no link to the batch before it"),
        (exchange_link, "000003: its timestamp does not cover its link 1.link"),
        (lambda state: (folder(state, 3) / "1.link").write_text("batch 2"), "000003: its link 1.link cannot be read"),
        (cut_list, "000002: its list 1.objects lacks 1 that its timestamp covers"),
    ],
    ids=[
        "middle", "first", "first, renumbered", "middle, renumbered", "renamed", "without a link", "another link",
        "no link", "shorter list",
    ],
)  # fmt: skip
def test_what_is_taken_out_is_told(
    state: StateDirectory, change: Callable[[StateDirectory], object], found: str
) -> None:
    change(state)
    assert any(each.startswith(found) for each in problems(state)), problems(state)


def test_without_its_link_a_batch_lacks_what_its_timestamp_covers(state: StateDirectory) -> None:
    edit(folder(state, 1), link=None)
    assert "000001: its list 1.objects lacks 1 that its timestamp covers; restore it from a backup" in problems(state)


def test_links_are_renewed_with_their_batch(state: StateDirectory) -> None:
    renew_batches(state, state.batches(), SECOND.at(at(2027)))
    renew_batches(state, state.batches(), SECOND.at(at(2030)), hash_name="sha3-256")
    assert problems(state, 2035) == []
    for batch in state.batches():
        assert [unlisted_leaves(batch), len(batch.chains)] == [0, 2]
    shutil.rmtree(folder(state, 2))
    assert any("removed or exchanged" in each for each in problems(state, 2035))


def test_a_renewal_does_not_seal_a_list_that_was_shortened(state: StateDirectory) -> None:
    cut_list(state)
    batches = state.batches()[1:2]
    with pytest.raises(StateError, match="lacks 1 that its timestamp covers"):
        renew_batches(state, batches, SECOND.at(at(2027)), hash_name="sha3-256")
    renew_batches(state, batches, SECOND.at(at(2027)), hash_name="sha3-256", drop_missing=True)


def test_a_directory_from_before_the_links_is_read_and_added_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first version wrote: no `link` in batch.json, and no leaf for one."""
    from tsa_core.evidence.hash_tree import HashTree, build_nodes
    from tsa_core.evidence.making import token_of
    from tsa_core.protocol.hashes import SHA256

    monkeypatch.chdir(tmp_path)
    state = StateDirectory.create(tmp_path / "state")
    for name in ("old", "new"):
        Path(name).write_text(name)
        add_files(state, [name], FIRST.at(at(2024)))
        if name == "old":
            tree = HashTree(SHA256, build_nodes(SHA256, SHA256.digest(b"old")), 1)
            first = folder(state, 1)
            (first / "1.tree").write_bytes(tree.nodes)
            (first / "1-1.token").write_bytes(token_of(FIRST.at(at(2024))(SHA256, tree.root), SHA256, tree.root))
            (first / "1.link").unlink()
            (chain,) = json.loads((first / "batch.json").read_text())["chains"]
            edit(first, link=None, chains=[{**chain, "leaves": 1}])
    assert [batch.link for batch in state.batches()] == [None, "1.link"]
    assert problems(state, 2025) == []
    assert isinstance(state.newest(), Batch)
