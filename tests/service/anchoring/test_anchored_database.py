"""A trail in a database is anchored like one in files: the same commands, the same verdicts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.anchored_trail import anchored, run, write
from tsa_core.api.trail import BEGINNING, begin_hash, encode, seal

pytestmark = [pytest.mark.plugin("auditsql"), pytest.mark.plugin("auditfile")]


@pytest.fixture
def database(config: Path) -> Path:
    """The configuration of the tests of files, with a database in their place, a trail and an anchor."""
    text = config.read_text().replace('"auditfile"', '"auditsql"').partition("[audit.auditfile]")[0]
    config.write_text(f'{text}[audit.auditsql]\npath = "trail.db"\nprobe_interval = "1h"\n')
    write(config, range(1, 6))
    anchored(config)
    return config


def test_an_anchored_database_is_good(database: Path) -> None:
    result = run("verify", "--config", database)
    assert result.exit_code == 0, result.output
    assert "anchors: 1 of 1 good" in result.stdout
    assert run("export", "--config", database, "--output", database.parent / "copy").exit_code == 0
    copy = run("verify", "--anchor-roots", database.parent / "roots.pem", database.parent / "copy")
    assert copy.exit_code == 0, copy.output
    assert "anchors: 1 of 1 good" in copy.stdout


def cut_off(connection: sqlite3.Connection, writer: int, rows: list[tuple[int, str]]) -> None:
    """Remove the last two rows of a chain, and let the table of writers end where the rest does."""
    seq, line = rows[-3]
    connection.execute("DELETE FROM audit_record WHERE writer = ? AND seq > ?", (writer, seq))
    digest = bytes.fromhex(json.loads(line)["hash"])
    connection.execute(
        "UPDATE audit_writer SET head_seq = ?, head_hash = ?, sealed_seq = min(sealed_seq, ?) WHERE id = ?",
        (seq, digest, seq, writer),
    )


def rewrite(connection: sqlite3.Connection, writer: int, rows: list[tuple[int, str]]) -> None:
    """Say that another client asked, in every column, and compute all hashes anew."""
    link, begun = BEGINNING, begin_hash(None)
    for seq, line in rows:
        fields = json.loads(line)
        if "client" in fields:
            fields["client"] = "192.0.2.66"
        members = encode({name: value for name, value in fields.items() if name not in {"seq", "hash"}})
        text, link = seal(members, link, begun)
        connection.execute(
            "UPDATE audit_record SET line = ?, hash = ?, client = ? WHERE writer = ? AND seq = ?",
            (text.rstrip("\n"), bytes.fromhex(link.digest), fields.get("client"), writer, seq),
        )
    connection.execute("UPDATE audit_writer SET head_hash = ? WHERE id = ?", (bytes.fromhex(link.digest), writer))


@pytest.mark.parametrize("change", [cut_off, rewrite])
def test_a_database_that_was_changed_is_found_by_its_anchor(
    database: Path, change: Callable[[sqlite3.Connection, int, list[tuple[int, str]]], None]
) -> None:
    connection = sqlite3.connect(database.parent / "trail.db")
    with connection:
        # Whoever does all this also removes the seals, and with them what they say.
        connection.execute("DELETE FROM audit_seal")
        connection.execute("UPDATE audit_writer SET sealed_seq = 0")
        [writer] = connection.execute(
            "SELECT writer FROM audit_record GROUP BY writer ORDER BY count(*) DESC LIMIT 1"
        ).fetchone()
        rows = connection.execute(
            "SELECT seq, line FROM audit_record WHERE writer = ? ORDER BY seq", (writer,)
        ).fetchall()
        change(connection, writer, rows)
    connection.close()
    result = run("verify", "--config", database)
    assert result.exit_code == 1
    assert "ANCHORS: anchor 1 (http://127.0.0.1:" in result.stdout
    assert "was there with another hash, or is not there any more" in result.stdout
