"""`timestamp-server audit`: it finds every change, and what was asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from tsa_core.api import ConfigError
from tsa_core.api.trail import NOTHING
from tsa_core.cli.audit.group import audit
from tsa_core.testing import sample_record

from .trail import opened, records, reports_of, trail


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(argument) for argument in arguments])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A trail of twenty tokens in several files."""
    path = tmp_path / "audit.jsonl"
    with opened(path, max_size=3000, daily=False) as sink:
        for number in range(1, 21):
            sink.write(sample_record(number))
    assert len(trail(path)) > 2
    return path


def test_verify_accepts_what_was_written(path: Path) -> None:
    result = run("verify", *reversed(trail(path)))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["intact"] * len(trail(path))
    last = records(path)[-1]
    assert lines[-1].endswith(f"{last['seq']}:{last['hash']}")


def test_verify_in_json(path: Path) -> None:
    document = json.loads(run("verify", "--json", *trail(path)).stdout)
    assert document["intact"] is True
    assert sum(file["tokens"] for file in document["files"]) == 20
    assert document["files"][0]["continues"] == f"0:{NOTHING}"
    for before, after in zip(document["files"], document["files"][1:], strict=False):
        assert after["continues"] == before["anchor"]


def test_a_file_that_a_killed_rotation_left_two_names_is_read_once(path: Path) -> None:
    path.with_name("audit-999999-archived.jsonl").hardlink_to(path)
    files = sorted(path.parent.glob("audit*.jsonl"))
    assert run("verify", *files).exit_code == 0
    assert len(run("show", *files).stdout.splitlines()) == len(run("show", *trail(path)).stdout.splitlines())


def test_oldest_files_are_missed_unless_the_line_before_is_given(path: Path, tmp_path: Path) -> None:
    before = f"0:{NOTHING}"
    for file in trail(path):
        assert run("verify", "--from", before, file).exit_code == 0
        result = run("verify", file)
        assert result.exit_code == (0 if file == trail(path)[0] else 1)
        assert ("older lines are missing" in result.stdout) == (file != trail(path)[0])
        last = json.loads(file.read_text().splitlines()[-1])
        before = f"{last['seq']}:{last['hash']}"
    (tmp_path / "head").write_text(before + "\n")
    wrong = run("verify", "--from", tmp_path / "head", *trail(path))
    assert wrong.exit_code == 1
    assert f"and not {before}" in wrong.stdout


def test_the_newest_file_is_missed_where_an_older_one_was_rotated(path: Path) -> None:
    *older, newest = trail(path)
    result = run("verify", *older)
    assert result.exit_code == 0  # archived files may be verified alone
    assert f"not checked: what follows {older[-1]}: it was rotated" in result.stderr
    assert "it was rotated" not in run("verify", *older, newest).stderr


def test_an_anchor_may_be_in_a_file(path: Path, tmp_path: Path) -> None:
    last = records(path)[-1]
    head = tmp_path / "auditfile.head"
    head.write_text(f"{last['seq']}:{last['hash']}\n")
    assert run("verify", "--anchor", head, *trail(path)).exit_code == 0
    head.write_text(f"{last['seq']}:{NOTHING}\n")
    assert run("verify", "--anchor", head, *trail(path)).exit_code == 1
    head.write_text("something else")
    assert run("verify", "--anchor", head, *trail(path)).exit_code == 2
    assert run("verify", "--anchor", tmp_path / "none", *trail(path)).exit_code == 2


def test_verify_finds_a_missing_file(path: Path) -> None:
    first, _, *rest = trail(path)
    result = run("verify", first, *rest)
    assert result.exit_code == 1
    assert f"does not continue {first}" in result.stdout


@pytest.mark.parametrize("line", [0, 1, 4])
def test_verify_finds_a_missing_line(path: Path, line: int) -> None:
    first = trail(path)[0]
    lines = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join(lines[:line] + lines[line + 1 :]))
    result = run("verify", first)
    assert result.exit_code == 1
    assert f"DAMAGED: line {line + 1}: " in result.stdout


def test_verify_finds_lines_that_changed_places(path: Path) -> None:
    first = trail(path)[0]
    lines = first.read_bytes().splitlines(keepends=True)
    lines[3], lines[4] = lines[4], lines[3]
    first.write_bytes(b"".join(lines))
    assert "line 4: number 5 follows 3" in run("verify", first).stdout


@pytest.mark.parametrize("hash_text", ["é" * 32, "\\ud800" + "0" * 58], ids=["not ASCII", "a lone surrogate"])
def test_verify_finds_a_hash_that_is_none(path: Path, hash_text: str) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    first = lines[0][: -len(json.loads(lines[0])["hash"]) - 3] + hash_text.encode("utf-8") + b'"}\n'
    assert len(first) == len(lines[0])
    path.write_bytes(first + b"".join(lines[1:]))
    result = run("verify", path)
    assert result.exit_code == 1
    assert "line 1: its hash does not fit" in result.output
    path.write_bytes(lines[0].replace(json.loads(lines[0])["previous"].encode(), b"\\u00e9") + b"".join(lines[1:]))
    result = run("verify", path)
    assert result.exit_code == 1
    assert "line 1: its hash does not fit" in result.output


def test_verify_finds_an_end_that_was_cut_off(path: Path) -> None:
    """Of a file that another continues; of the last one only an anchor shows it."""
    first, *_, last = trail(path)
    for file in (first, last):
        whole = file.read_bytes()
        file.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
        assert run("verify", *trail(path)).exit_code == (0 if file == last else 1)
        begun = json.loads(whole.splitlines()[0])
        assert "open" in run("verify", "--from", f"{begun['seq'] - 1}:{begun['previous']}", file).stdout
        file.write_bytes(whole)
    anchor = f"{records(path)[-1]['seq']}:{records(path)[-1]['hash']}"
    assert run("verify", "--anchor", anchor, *trail(path)).exit_code == 0
    last.write_bytes(b"".join(last.read_bytes().splitlines(keepends=True)[:-1]))
    result = run("verify", "--anchor", anchor, *trail(path))
    assert result.exit_code == 1
    assert "is not there with that hash" in result.stderr


def test_verify_needs_the_key(tmp_path: Path) -> None:
    path, key_file = tmp_path / "audit.jsonl", tmp_path / "audit.key"
    key_file.write_text("a key of some length\n")
    with opened(path, key="a key of some length") as sink:
        sink.write(sample_record(1))
    assert run("verify", "--key-file", key_file, path).exit_code == 0
    with pytest.raises(ConfigError, match="--key-file"):
        raise_of(run("verify", path))
    with pytest.raises(ConfigError, match="cannot be read"):
        raise_of(run("verify", "--key-file", tmp_path / "nope", path))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="it is a FIFO that nobody writes to"):
        raise_of(run("verify", "--key-file", tmp_path / "fifo", path))
    (tmp_path / "plain").mkdir()
    with opened(tmp_path / "plain" / "audit.jsonl"):
        pass
    forged = run("verify", "--key-file", key_file, tmp_path / "plain" / "audit.jsonl")
    assert "the file was written without a key" in forged.stdout


def raise_of(result: Result) -> None:
    assert result.exception is not None
    raise result.exception


def test_open_file_is_said_to_be_open(tmp_path: Path) -> None:
    with opened(tmp_path / "audit.jsonl") as sink:
        sink.write(sample_record(1))
        result = run("verify", tmp_path / "audit.jsonl")
    assert result.exit_code == 0
    assert "intact, open: 3 lines, 1 tokens" in result.stdout


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 5_000_000, b'{"seq":1e400}\n', b"[" * 100_000 + b"\n"])
def test_other_files_are_damaged_ones(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    result = run("verify", tmp_path / "other")
    assert result.exit_code == 1
    assert "DAMAGED" in result.stdout


SAMPLE: list[bytes] = []


@pytest.fixture(scope="module", autouse=True)
def sample(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("sample") / "audit.jsonl"
    with opened(path) as sink:
        for number in range(3):
            sink.write(sample_record(number))
    SAMPLE[:] = [path.read_bytes()]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_change_of_a_byte_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = SAMPLE[0]
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    path = tmp_path_factory.getbasetemp() / "changed.jsonl"
    path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
    assert reports_of([path])[0].damage


# -- show -----------------------------------------------------------------------------------------------------------


def test_show_prints_what_was_asked_for(path: Path) -> None:
    everything = run("show", *trail(path))
    assert len(everything.stdout.splitlines()) == len(records(path))
    one = run("show", "--serial", "0x0b", "--json", *trail(path))
    [record] = [json.loads(line) for line in one.stdout.splitlines()]
    assert int(record["serial"], 16) == 11
    assert len(run("show", "--profile", "default", *trail(path)).stdout.splitlines()) == 20
    assert len(run("show", "--client", sample_record().client_address, *trail(path)).stdout.splitlines()) == 20
    events = run("show", "--events", *trail(path)).stdout.splitlines()
    assert len(events) == len(records(path)) - 20
    assert events[1].split("\t")[1] == "open"


def test_show_by_time(path: Path) -> None:
    record = sample_record()
    day, year = record.gen_time.date().isoformat(), record.gen_time.year
    during = run("show", "--profile", "default", "--since", day, "--until", f"{year + 1}-01-01", *trail(path))
    assert len(during.stdout.splitlines()) == 20
    after = run("show", "--profile", "default", "--since", f"{year + 1}-01-01T00:00:00Z", *trail(path))
    assert after.exit_code == 1
    assert "there is no such line" in after.stderr
    assert run("show", "--since", "yesterday", path).exit_code == 2


def test_show_goes_on_after_a_damaged_line(path: Path) -> None:
    path.write_bytes(b"junk\n" + path.read_bytes())
    result = run("show", path)
    assert result.exit_code == 0
    assert "line 1: this is no line of an audit trail" in result.stderr


def test_help_has_examples() -> None:
    for name in ("verify", "show"):
        assert "timestamp-server audit" in run(name, "--help").stdout
