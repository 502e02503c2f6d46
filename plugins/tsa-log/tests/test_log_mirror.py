"""A copy of somebody's log: whole, verified, of one history, and servable as it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tsa_core.api import TsaError
from tsa_core.api.transparency import NoteSigner, SignatureType, parse_signed_checkpoint
from tsa_log.command import log as log_command
from tsa_log.sequencer import SequencerLock
from tsa_log.storage import LocalStorage

from .engines import FakeEngine
from .logs import LOG_KEY, ORIGIN, WITNESS_KEY, Crash, entries, numbered

ENTRIES = numbered(0, 700)


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path / "origin") as engine:
        yield engine


def mirror(url: str, directory: Path, *more: str | Path, key: str = str(LOG_KEY.key)) -> tuple[int, str]:
    arguments = ["mirror", url, "--log-key", key, "--directory", str(directory), *map(str, more)]
    outcome = CliRunner().invoke(log_command, arguments)
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        assert isinstance(outcome.exception, TsaError)
        return 2, f"{outcome.output}{outcome.exception}"  # as the program does
    return outcome.exit_code, outcome.output


def test_a_log_is_copied_and_followed(origin: FakeEngine, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for end, shown in ((300, "300 entries"), (700, "700 entries"), (700, "700 entries")):
        origin.fill(ENTRIES[len(entries(origin.folder)) : end])
        assert mirror(origin.url, copy) == (0, f"{ORIGIN}: {shown}\n")
        assert entries(copy / "public") == ENTRIES[:end]
        for path in (copy / "public" / "tile").rglob("*"):
            if path.is_file():
                assert path.read_bytes() == (origin.folder / path.relative_to(copy / "public")).read_bytes()


def test_the_mirror_says_in_its_checkpoint_that_it_has_the_log(origin: FakeEngine, tmp_path: Path) -> None:
    origin.fill(ENTRIES[:5])
    (tmp_path / "mirror.key").write_text(f"{WITNESS_KEY.text()}\n")
    assert mirror(origin.url, tmp_path / "copy", "--key", tmp_path / "mirror.key")[0] == 0
    signed = parse_signed_checkpoint((tmp_path / "copy" / "public" / "checkpoint").read_bytes())
    assert [each.key for each in signed.signed_by([LOG_KEY.key, WITNESS_KEY.key])] == [LOG_KEY.key, WITNESS_KEY.key]
    [minute] = (tmp_path / "copy" / "public" / "checkpoints").rglob("????")
    assert minute.read_bytes() == signed.note.encode() + b"\n"


def test_a_crash_at_any_write_leaves_a_copy_that_goes_on(
    origin: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.fill(ENTRIES[:300])
    real = LocalStorage.write
    copies = 0
    for crash_at in range(100):
        copy, left = tmp_path / f"copy{crash_at}", [crash_at]

        def write(storage: LocalStorage, path: str, data: bytes, left: list[int] = left) -> None:
            if left[0] == 0:
                raise Crash
            left[0] -= 1
            real(storage, path, data)

        monkeypatch.setattr(LocalStorage, "write", write)
        try:
            code, _ = mirror(origin.url, copy)
        except Crash:
            code = -1
        monkeypatch.setattr(LocalStorage, "write", real)
        assert mirror(origin.url, copy)[0] == 0
        assert entries(copy / "public") == ENTRIES[:300]
        copies += 1
        if code == 0:
            break
    assert copies > 5


@pytest.mark.parametrize("absent", [404, 403])
def test_a_partial_tile_that_is_gone_is_read_from_the_full_one(origin: FakeEngine, tmp_path: Path, absent: int) -> None:
    origin.fill(ENTRIES[:250])
    old = (origin.folder / "checkpoint").read_bytes()
    origin.fill(ENTRIES[250:300])
    (origin.folder / "checkpoint").write_bytes(old)
    for path in origin.folder.glob("tile/*/000.p"):
        shutil.rmtree(path)
    origin.absent = absent
    assert mirror(origin.url, tmp_path / "copy") == (0, f"{ORIGIN}: 250 entries\n")
    assert entries(tmp_path / "copy" / "public") == ENTRIES[:250]


def test_an_old_checkpoint_is_told_and_takes_nothing_back(origin: FakeEngine, tmp_path: Path) -> None:
    origin.fill(ENTRIES[:5])
    old = (origin.folder / "checkpoint").read_bytes()
    origin.fill(ENTRIES[5:9])
    assert mirror(origin.url, tmp_path / "copy")[0] == 0
    (origin.folder / "checkpoint").write_bytes(old)
    code, output = mirror(origin.url, tmp_path / "copy")
    assert (code, "is older than the copy, which has 9 entries" in output) == (1, True)
    assert entries(tmp_path / "copy" / "public") == ENTRIES[:9]


def test_a_fork_is_not_copied(origin: FakeEngine, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    origin.fill(ENTRIES[:5])
    assert mirror(origin.url, copy)[0] == 0
    with FakeEngine(tmp_path / "fork") as fork:
        fork.fill(ENTRIES[5:15])
        code, output = mirror(fork.url, copy)
    assert code == 1
    assert "does not continue the 5 that were copied" in output
    assert entries(copy / "public") == ENTRIES[:5]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--every", "5"), "--every has no effect without --follow"),
        (("--log-key", "x"), "a key is written"),
        (("--log-key", str(NoteSigner("other.example", SignatureType.ED25519, bytes(32)).key)), "of different logs"),
        (("--key", "log.key"), "timestamp-server witness keygen"),
        (("--key", "nothing"), "does not exist"),
        (("--key", "fifo"), "it is a FIFO that nobody writes to"),
    ],
    ids=["every", "no key", "another log", "log's key", "no file", "FIFO"],
)
def test_what_cannot_be_meant_is_refused(
    origin: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.key").write_text(LOG_KEY.text())
    os.mkfifo(tmp_path / "fifo")
    code, output = mirror(origin.url, tmp_path / "copy", *more)
    assert code != 0
    assert message in output


def test_an_address_without_a_log_is_told(origin: FakeEngine, tmp_path: Path) -> None:
    assert "write https://HOST/PATH" in mirror("ftp://a", tmp_path / "copy")[1]
    origin.stop()
    code, output = mirror(origin.url, tmp_path / "copy")
    assert (code, "cannot be reached" in output) == (1, True)


def test_two_processes_do_not_keep_one_copy(origin: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "copy" / "private").mkdir(parents=True)
    lock = SequencerLock(tmp_path / "copy" / "private")
    assert lock.take()
    assert "another process keeps this copy" in mirror(origin.url, tmp_path / "copy")[1]
    lock.give_back()
