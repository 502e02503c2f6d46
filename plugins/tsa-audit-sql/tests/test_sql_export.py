"""A trail that was exported is held against its seals, without the database, as the database itself is."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tsa_core.api.trail import BEGINNING, Link, begin_hash, check_trail, encode, read_line, seal
from tsa_core.api.trail.exported import ExportedTrail, export_trail

from .databases import SqliteTrail, record

KEY = "a key of some length"


@pytest.fixture
def folder(sqlite: SqliteTrail, tmp_path: Path) -> Path:
    """An export of two writers' chains and two seals, the second over the second writer alone."""
    with sqlite.opened(key=KEY) as sink:
        sink.write_all([record(number) for number in range(1, 8)])
    with sqlite.opened(key=KEY) as sink:
        sink.write_all([record(number) for number in range(11, 18)])
    return exported(sqlite, tmp_path / "export")


def exported(database: SqliteTrail, folder: Path) -> Path:
    with database.trail(key=KEY) as trail:
        export_trail(trail, folder)
    return folder


def damage(folder: Path) -> list[str]:
    report = check_trail(ExportedTrail(folder, KEY.encode()))
    return [each.damage for each in report.segments if each.damage] + report.faults


def sealed_anew(lines: list[bytes], change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return the lines, changed and chained again by somebody who has the key."""
    link, found = BEGINNING, b""
    for line in lines:
        fields, _ = read_line(line)
        del fields["seq"], fields["hash"]
        change(fields)
        text, link = seal(encode(fields), link, begin_hash(KEY.encode()))
        found += text.encode("ascii")
    return found


def test_an_export_is_intact_also_after_a_prune(folder: Path, sqlite: SqliteTrail, tmp_path: Path) -> None:
    assert damage(folder) == []
    assert damage_of_pruned(sqlite, tmp_path) == []


def damage_of_pruned(sqlite: SqliteTrail, tmp_path: Path) -> list[str]:
    with sqlite.trail(key=KEY) as trail:
        assert trail.prune(datetime.now(UTC))
    return damage(exported(sqlite, tmp_path / "pruned"))


def test_lines_that_are_cut_off_at_the_end_of_a_chain_are_missed(folder: Path) -> None:
    path = folder / "lines-000001.jsonl"
    *lines, _, _ = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines))
    [fault] = damage(folder)
    assert fault.startswith("seal 1 has 9:")
    assert "as the last line of" in fault


@pytest.mark.parametrize("renamed", [False, True], ids=["as it is", "chain of seals renamed"])
def test_a_chain_that_is_taken_out_is_missed(folder: Path, renamed: bool) -> None:
    document = json.loads((folder / "trail.json").read_text())
    gone = document["segments"].pop(0)
    if renamed:
        document["segments"][-1]["chain"] = "something"
    (folder / "trail.json").write_text(json.dumps(document))
    assert damage(folder) == [f"seal 1 covers lines of {gone['chain']}, which are not there"]


def test_a_chain_that_is_written_anew_has_another_root(folder: Path) -> None:
    path = folder / "lines-000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)

    def other(fields: dict[str, Any]) -> None:
        if fields["type"] == "token":
            fields["client"] = "192.0.2.66"

    path.write_bytes(sealed_anew(lines, other))
    assert any("seal 1 has 9:" in fault for fault in damage(folder))


def test_a_line_in_the_middle_that_fits_its_neighbours_has_another_root(folder: Path) -> None:
    """Whoever finds another hash of the same end, or a reader that does not chain: the root is over every line."""
    path = folder / "lines-000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3][:-67] + b"0" * 64 + lines[3][-3:]
    path.write_bytes(b"".join(lines))
    assert "seal 1 has another root" in "\n".join(damage(folder))


def test_a_chain_that_is_put_in_later_is_noticed(folder: Path) -> None:
    document = json.loads((folder / "trail.json").read_text())
    forged = {**document["segments"][0], "chain": "forged", "file": "lines-000009.jsonl", "start": str(Link())}
    document["segments"].insert(0, forged)
    (folder / "trail.json").write_text(json.dumps(document))
    lines = (folder / "lines-000001.jsonl").read_bytes().splitlines(keepends=True)
    time = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    old = sealed_anew(lines, lambda fields: fields.update(time=time, gen_time=time))
    (folder / "lines-000009.jsonl").write_bytes(old)
    [fault] = damage(folder)
    assert fault.startswith("line 1 of forged says")
    assert "no seal of that time covers it" in fault
