"""timestamp-server audit report over the trails of databases: a chain for each process, and the chain of seals."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tsa_backends.postgresql_server import PASSWORD
from tsa_core.api import AuditEvent
from tsa_core.cli.audit.group import audit
from tsa_core.testing import sample_refusal

from .databases import TrailDatabase, record

CERTIFICATE, KEY = "a" * 64, "b" * 64


@pytest.fixture(autouse=True)
def configuration(database: TrailDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TSA_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    settings = "".join(f"{name} = {json.dumps(value)}\n" for name, value in database.options.items())
    Path("tsa.toml").write_text(f'[audit]\nsinks = ["auditsql"]\n[audit.auditsql]\n{settings}')


def report(*arguments: str) -> Result:
    begin = f"{datetime.now(UTC) - timedelta(days=2):%Y-%m-%d}"
    return CliRunner().invoke(audit, ["report", "--config", "tsa.toml", "--from", begin, *arguments])


def event(kind: str, time: datetime, **details: str) -> AuditEvent:
    return AuditEvent(kind=kind, time=time, details={"pid": "7", **details})


def test_chains_of_several_processes_are_one_report(database: TrailDatabase) -> None:
    then = datetime.now(UTC) - timedelta(hours=3)
    with database.opened(refusals=True) as one, database.opened() as other:
        one.write_all([record(number, then, profile="default") for number in range(1, 4)])
        other.write(record(9, then, profile="qualified"))
        one.write_refusals([replace(sample_refusal(3), time=then)])
        certificate = {"profile": "default", "certificate_sha256": CERTIFICATE, "key_sha256": KEY}
        for number, sink in enumerate((one, other)):
            pid = str(number)
            sink.event(event("service.started", then, pid=pid, version="0.1.0", host=f"tsa{number}"))
            sink.event(event("profile.certificate", then + timedelta(seconds=number), pid=pid, **certificate))
            sink.event(event("clock.state", then + timedelta(minutes=number), pid=pid, issuing="false", reason="apart"))
            sink.event(event("clock.state", then + timedelta(minutes=9), pid=pid, issuing="true", reason=""))
        other.event(event("key.ceremony", then, attendees="Ada (officer)", key_sha256=KEY, protocol_sha256="c" * 64))
    result = report()
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "from the audit trail of the sink auditsql" in text
    assert (
        "Every line of the trail fits the one before it. Nothing shows whether all of them were computed anew" in text
    )
    assert "| Time-stamps | 4 |" in text
    assert "| Requests refused, as far as they are recorded | 1 |" in text
    assert f"| {then:%Y-%m} | qualified | 1 |" in text
    assert f"| default | {then:%Y-%m-%d %H:%M:%S} | still in use |" in text
    assert text.count(CERTIFICATE) == 1
    ends = then + timedelta(minutes=9)
    assert f"| {then:%Y-%m-%d %H:%M:%S} | {ends:%Y-%m-%d %H:%M:%S} | 9 min | 2 | apart |" in text
    assert "| key made or taken | Ada (officer) |" in text
    assert "Processes began to write 2 times and ended in order 2 times." in text
    assert PASSWORD not in result.output


@pytest.mark.parametrize(
    ("change", "said", "counted"),
    [
        (
            "UPDATE audit_record SET client = '192.0.2.66' WHERE seq = 4",
            "line 4: the row 4, column client: it does not say what its line says",
            2,
        ),
        ("DELETE FROM audit_record WHERE seq > 7", "the rows behind 7 are missing", 6),
    ],
)
def test_what_was_changed_is_told_and_what_stands_behind_it_is_not_counted(
    database: TrailDatabase, change: str, said: str, counted: int
) -> None:
    with database.opened() as sink:
        sink.write_all([record(number) for number in range(1, 9)])
    database.sql(change)
    result = report()
    assert result.exit_code == 1
    assert "The trail is NOT what was written" in result.stdout
    assert said in result.stdout
    assert f"| Time-stamps | {counted} |" in result.stdout


def test_a_database_that_is_not_there_is_a_line(database: TrailDatabase) -> None:
    """Nobody has written: SQLite has no file, and PostgreSQL no tables."""
    result = report()
    assert result.exit_code != 0
    assert result.stdout == ""
    assert "\n" not in str(result.exception).strip()
    assert PASSWORD not in f"{result.output} {result.exception}"
