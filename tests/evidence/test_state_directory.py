"""A state directory: many files with one timestamp, both renewals, what is due, and what a crash or damage leaves."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest

from tests.evidence.authorities import Authority, at, trusting
from tsa_core.evidence import AlgorithmEnd, EvidenceError, EvidenceVerifier, enclose, verify_record
from tsa_core.evidence.state import (
    Batch,
    StateDirectory,
    StateError,
    add_files,
    check_batch,
    check_files,
    due_batches,
    record_of,
    renew_batches,
)
from tsa_core.evidence.state.hashing import SortedLeaves, files_at_once, hash_files
from tsa_core.evidence.state.manifest import Entry, encode_line, read_entries
from tsa_core.protocol.hashes import SHA256, hash_by_name
from tsa_core.testing.programs import require_program
from tsa_core.verify import VerificationError

FIRST = Authority("First", "p256", start=at(2020), end=at(2028))
SECOND = Authority("Second", "p256", start=at(2025), end=at(2040))
TRUST = trusting(FIRST, SECOND)
NAMES = ("a.txt", "b.txt", "deep/c.txt", "deep/d.txt", "deep/er/e.txt", "same.txt")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a.txt" if name == "same.txt" else name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(folder: Path, **options: Any) -> tuple[StateDirectory, Batch]:
    state = StateDirectory.create(folder / "state")
    return state, add_files(state, ["data"], FIRST.at(at(2024)), **options).batch


def checked(batch: Batch, year: int, **options: Any) -> dict[str, str]:
    """Return what is wrong with each file, empty for nothing."""
    verifier = EvidenceVerifier(TRUST)
    return {each.path: each.problem for each in check_batch(batch, verifier, time=at(year), **options)}


def digests(path: Path, *names: str) -> dict[str, bytes]:
    return {name: hash_by_name(name).digest(path.read_bytes()) for name in names}


def test_one_request_for_a_folder_and_a_record_for_each_file(folder: Path) -> None:
    asked = len(FIRST.requests)
    state, batch = made(folder)
    assert len(FIRST.requests) == asked + 1
    assert (batch.name, batch.objects, batch.chains[0].leaves) == ("000001", 6, 6)  # with the link
    assert checked(batch, 2025) == {f"data/{name}": "" for name in NAMES}
    record = record_of(batch, digests(folder / "data/deep/c.txt", "sha256"))
    assert record is not None
    assert verify_record(record.encode(), b"deep/c.txt", trust=TRUST, time=at(2025)).existed == at(2024)
    assert record_of(batch, {"sha256": bytes(32)}) is None
    second = add_files(state, ["data/a.txt"], SECOND.at(at(2026))).batch
    assert [each.name for each in state.batches()] == ["000001", "000002"]
    (found,) = check_files(state.batches(), ["data/same.txt"], EvidenceVerifier(TRUST), time=at(2027))
    assert (found.batch, found.problem) == ("000001", "")
    assert second.chains[0].leaves == 2


def test_the_list_of_objects_is_what_sha256sum_reads(folder: Path) -> None:
    program = require_program("sha256sum")
    (folder / "data" / "back\\slash\nnewline").write_text("odd")
    _, batch = made(folder)
    done = subprocess.run([program, "-c", "--quiet", batch.folder / "1.objects"], cwd=folder, check=False, timeout=60)
    assert done.returncode == 0
    assert checked(batch, 2025)["data/back\\slash\nnewline"] == ""


def test_lines_of_objects_are_read_as_they_were_written(tmp_path: Path) -> None:
    names = ["plain", "with  spaces", "back\\slash", "new\nline", "\\n", "carriage\r", os.fsdecode(b"\xff")]
    entries = [Entry(name, hashlib.sha256(os.fsencode(name)).digest()) for name in names]
    path = tmp_path / "objects"
    path.write_bytes(b"".join(encode_line(*entry) for entry in entries))
    assert list(read_entries(path)) == entries
    path.write_bytes(b"no line\n")
    with pytest.raises(ValueError, match="line 1"):
        list(read_entries(path))


def test_a_folder_is_a_data_group(folder: Path) -> None:
    _, batch = made(folder, group_by="folder")
    assert batch.chains[0].leaves == 4
    assert set(checked(batch, 2025).values()) == {""}
    record = record_of(batch, digests(folder / "data/deep/c.txt", "sha256"))
    assert record is not None
    tree = record.timestamps[0].reduced_hashtree
    assert tree is not None
    assert len(tree[0]) == 2
    (folder / "data/deep/d.txt").write_text("changed")
    problems = checked(batch, 2025)
    assert problems["data/deep/d.txt"] == "it has changed since it was stamped"
    assert "another file of its group" in problems["data/deep/c.txt"]
    assert problems["data/a.txt"] == ""
    made_twice = StateDirectory.create(folder / "other")
    with pytest.raises(EvidenceError, match="do not follow each other"):
        add_files(made_twice, ["data", "data/a.txt"], FIRST.at(at(2024)), group_by="folder")


@pytest.mark.parametrize("group_by", [None, "folder"], ids=["single", "groups"])
def test_both_renewals_carry_the_first_time_on(folder: Path, group_by: str | None) -> None:
    state, _ = made(folder, group_by=group_by)
    add_files(state, ["data/b.txt"], FIRST.at(at(2024, 6)), group_by=group_by)
    asked = len(SECOND.requests)
    renewed = renew_batches(state, state.batches(), SECOND.at(at(2027)))
    assert len(SECOND.requests) == asked + 1
    assert [each.renewal for each in renewed] == ["timestamp", "timestamp"]
    again = renew_batches(state, state.batches(), SECOND.at(at(2030)), hash_name="sha3-256")
    assert [(each.renewal, each.missing) for each in again] == [("hash tree", ())] * 2
    last = renew_batches(state, state.batches(), SECOND.at(at(2035)))
    assert [len(each.batch.chains[-1].timestamps) for each in last] == [2, 2]
    batch = state.batches()[0]
    assert set(checked(batch, 2039).values()) == {""}
    record = record_of(batch, digests(folder / "data/deep/c.txt", "sha256", "sha3-256"))
    assert record is not None
    verdict = verify_record(record.encode(), folder / "data/deep/c.txt", trust=TRUST, time=at(2039))
    assert verdict.existed == at(2024)
    assert [layer.place.kind for layer in verdict.layers] == [
        *("initial", "timestamp renewal", "hash tree renewal", "timestamp renewal")
    ]
    assert "holds" in next(iter(checked(batch, 2041).values())) or "does not hold" in checked(batch, 2041)["data/a.txt"]


def test_what_is_known_at_a_renewal_goes_into_the_token(folder: Path) -> None:
    state, batch = made(folder)
    root = FIRST.root.der

    def prepare(token: bytes) -> bytes:
        from tsa_core.evidence import EvidenceRecord
        from tsa_core.evidence.syntax import ArchiveTimeStamp

        record = EvidenceRecord.initial(ArchiveTimeStamp(time_stamp=token))
        return enclose(record, certificates=[root]).timestamps[0].time_stamp

    (renewed,) = renew_batches(state, [batch], SECOND.at(at(2027)), prepare=prepare)
    assert root in renewed.batch.token("1-1-full.token")
    assert root not in renewed.batch.token("1-1.token")
    assert set(checked(renewed.batch, 2030).values()) == {""}


def test_a_hash_tree_renewal_needs_every_file_unless_they_are_left_out(folder: Path) -> None:
    state, batch = made(folder)
    (folder / "data/a.txt").write_text("changed")
    (folder / "data/deep/c.txt").unlink()
    before = sorted(path.name for path in batch.folder.iterdir())
    with pytest.raises(EvidenceError, match=r"2 of 6 objects.*has changed since"):
        renew_batches(state, [batch], SECOND.at(at(2027)), hash_name="sha512")
    assert [each.chains for each in state.batches()] == [batch.chains]
    assert before != []
    (renewed,) = renew_batches(state, [batch], SECOND.at(at(2027)), hash_name="sha512", drop_missing=True)
    assert [name for name, _ in renewed.missing] == ["data/a.txt", "data/deep/c.txt"]
    problems = checked(renewed.batch, 2030)
    assert [name for name, problem in problems.items() if problem] == ["data/a.txt", "data/deep/c.txt"]
    same = record_of(renewed.batch, digests(folder / "data/b.txt", "sha256", "sha512"))
    assert same is not None
    assert len(same.chains) == 2
    (moved,) = renew_batches(
        state, [renewed.batch], SECOND.at(at(2028)), hash_name="sha3-256", base=str(folder), drop_missing=True
    )
    assert len(moved.missing) == 2


def test_due_names_the_end_that_comes_first(folder: Path) -> None:
    state, _ = made(folder)
    add_files(state, ["data/b.txt"], SECOND.at(at(2026)))
    first, second = due_batches(state.batches())
    assert (first.batch.name, first.before, first.renewal) == ("000001", at(2028), "timestamp")
    assert first.reasons[0].why == "the certificate of CN=First Signer,O=tsa-core tests ends"
    assert "NIST IR 8547" in second.reasons[0].why
    assert second.before.year == 2035
    tree = AlgorithmEnd(algorithm="sha256", until=at(2027), source="a test")
    due = due_batches(state.batches(), ends=[tree])[0]
    assert (due.renewal, due.reasons[0].why) == ("hash tree", "sha256 ends in the hash tree (a test)")
    with pytest.raises(EvidenceError, match="sha256 ends first in batch 000001: name another hash"):
        renew_batches(state, state.batches(), SECOND.at(at(2026)), ends=[tree])


def test_files_that_cannot_be_read_stop_it_before_anybody_is_asked(folder: Path) -> None:
    state = StateDirectory.create(folder / "state")
    asked = len(FIRST.requests)
    with pytest.raises(EvidenceError, match="missing cannot be read"):
        add_files(state, ["data", "missing"], FIRST.at(at(2024)))
    (folder / "empty").mkdir()
    with pytest.raises(EvidenceError, match="no file to make evidence for"):
        add_files(state, ["empty"], FIRST.at(at(2024)))
    (folder / "data/pipe").symlink_to("nowhere")
    (folder / "data/loop").symlink_to("loop")
    os.mkfifo(folder / "data/fifo")
    added = add_files(state, ["data"], FIRST.at(at(2024)))
    assert [path for path, _ in added.skipped] == ["data/fifo", "data/loop", "data/pipe"]
    with pytest.raises(EvidenceError, match="no regular file"):
        add_files(state, ["data/fifo"], FIRST.at(at(2024)))
    assert len(FIRST.requests) == asked + 1
    assert len(state.batches()) == 1


def test_a_folder_that_cannot_be_read_is_not_left_out_in_silence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, asked, scandir = StateDirectory.create(folder / "state"), len(FIRST.requests), os.scandir

    def failing(path: str) -> Any:
        if path == "data/deep/er":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(EvidenceError, match="data/deep/er cannot be read"):
        add_files(state, ["data"], FIRST.at(at(2024)))
    assert (len(FIRST.requests), state.batches()) == (asked, [])


def test_a_killed_writer_leaves_nothing_that_counts(folder: Path) -> None:
    state, _ = made(folder)
    left = state.path / "batches" / ".new"
    left.mkdir()
    (left / "1.objects").write_text("half a l")
    (state.path / "batches" / "000001" / ".batch.json.new").write_text("{")
    assert len(state.batches()) == 1
    add_files(state, ["data/b.txt"], FIRST.at(at(2024)))
    assert sorted(path.name for path in (state.path / "batches").iterdir()) == ["000001", "000002"]
    with pytest.raises(RuntimeError, match="authority"):
        add_files(state, ["data/b.txt"], lambda *_: (_ for _ in ()).throw(RuntimeError("the authority is away")))
    assert len(list((state.path / "batches").iterdir())) == 2


def test_two_writers_at_once_are_refused(folder: Path) -> None:
    state, _ = made(folder)
    with state.locked(), pytest.raises(StateError, match="another process is writing"):
        add_files(state, ["data/b.txt"], FIRST.at(at(2024)))


def test_a_batch_that_another_writer_renewed_is_not_renewed_from_what_was_read_before(folder: Path) -> None:
    """Else its token would be overwritten by one that the other's hash tree does not lead to."""
    state, before = made(folder)
    (renewed,) = renew_batches(state, [before], SECOND.at(at(2026)))
    with pytest.raises(StateError, match="another process has changed batch 000001"):
        renew_batches(state, [before], SECOND.at(at(2027)))
    assert state.batches() == [renewed.batch]
    assert set(checked(renewed.batch, 2029).values()) == {""}


def test_a_verifier_that_is_kept_sees_a_path_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        year_now = 2025

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(cls.year_now, 1, 1, tzinfo=tz)

    monkeypatch.setattr("tsa_core.evidence.verifier.datetime", Clock)
    _, batch = made(folder)
    record = batch.record([digests(folder / "data/a.txt", "sha256")])
    assert record is not None
    verifier = EvidenceVerifier(TRUST)
    assert verifier.verify(record, b"a.txt").existed == at(2024)
    Clock.year_now = 2029
    with pytest.raises(VerificationError, match="ended at 2028"):
        verifier.verify(record, b"a.txt")


def test_damage_is_told(folder: Path) -> None:
    with pytest.raises(StateError, match="holds no evidence"):
        StateDirectory(folder)
    with pytest.raises(StateError, match="is not empty"):
        StateDirectory.create(folder)
    state, batch = made(folder)
    description = batch.folder / "batch.json"
    text = description.read_text()
    for wrong in ("{", text.replace('"format": 1', '"format": 2'), text.replace("1.tree", "../1.tree")):
        description.write_text(wrong)
        with pytest.raises(StateError, match="000001"):
            state.batches()
    description.write_text(text)
    tree = batch.folder / "1.tree"
    nodes = bytearray(tree.read_bytes())
    nodes[-1] ^= 1
    tree.write_bytes(nodes)
    with pytest.raises(StateError, match="is not the one of its timestamp"):
        renew_batches(state, state.batches(), SECOND.at(at(2026)))
    tree.write_bytes(nodes[:-1])
    with pytest.raises(StateError, match="hash tree"):
        checked(state.batches()[0], 2025)
    objects = batch.folder / "1.objects"
    lines = objects.read_bytes()
    for damaged, reason in (
        (lines[: lines.index(b"\n") + 1], "has 1 objects and not 6"),
        (lines[:-1] + b"\n\n", "line 7"),
    ):
        objects.write_bytes(damaged)
        with pytest.raises(StateError, match=reason):
            checked(state.batches()[0], 2025)
    objects.unlink()
    with pytest.raises(StateError, match="No such file"):
        checked(state.batches()[0], 2025)
    shutil.rmtree(state.path / "batches")
    with pytest.raises(StateError, match="batches cannot be read"):
        state.batches()
    (state.path / "evidence.json").write_text('{"format": 9}')
    with pytest.raises(StateError, match="another format"):
        StateDirectory(state.path)


def test_an_authority_that_is_away_leaves_a_renewal_undone(folder: Path) -> None:
    state, batch = made(folder)

    def away(*_: object) -> bytes:
        raise RuntimeError("the authority is away")

    for options in ({}, {"hash_name": "sha512"}):
        with pytest.raises(RuntimeError):
            renew_batches(state, [batch], away, prepare=lambda token: token + b"", **options)  # type: ignore[arg-type]  # two kinds of options
        (same,) = state.batches()
        assert same.chains == batch.chains
        assert set(checked(same, 2025).values()) == {""}
    (renewed,) = renew_batches(state, state.batches(), SECOND.at(at(2027)), hash_name="sha512")
    assert set(checked(renewed.batch, 2030).values()) == {""}


def test_large_files_are_shared_among_threads(tmp_path: Path) -> None:
    assert files_at_once(0, 0) < files_at_once(100, 0) == files_at_once(1000, 100_000) == 256
    assert files_at_once(10, 10 * (100 << 20)) == 1
    paths = [str(tmp_path / str(number)) for number in range(1000)]
    for number, path in enumerate(paths):
        Path(path).write_bytes(b"x" * (3 << 20 if number == 500 else number))
    seen: list[tuple[int, int]] = []
    results = list(hash_files(paths, [SHA256], workers=3, progress=lambda files, octets: seen.append((files, octets))))
    assert [result.path for result in results] == paths
    assert [result.digests[0] for result in results] == [SHA256.digest(Path(path).read_bytes()) for path in paths]
    assert seen[-1] == (1000, sum(Path(path).stat().st_size for path in paths))


def test_leaves_are_sorted_and_each_once() -> None:
    values = [SHA256.digest(bytes([number % 50])) for number in range(200)]
    leaves = SortedLeaves(32)
    for value in values:
        leaves.add(value)
    assert leaves.sorted() == b"".join(sorted(set(values)))
