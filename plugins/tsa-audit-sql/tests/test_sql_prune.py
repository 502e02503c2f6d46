"""What was pruned is gone, and what stays verifies and says so."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count

import pytest
from sqlalchemy import Connection

from tsa_audit_sql import pruning, sealing, sink, upkeep, writer
from tsa_core.api import AuditError
from tsa_core.api.trail import Link, Query

from .databases import SqliteTrail, TrailDatabase, record

MAY, JUNE, JULY, AUGUST, SEPTEMBER = (datetime(2026, month, 1, tzinfo=UTC) for month in range(5, 10))
KEY = "a key of some length"


class Clock:
    """What processes of tests take for the time, in the place of `datetime`."""

    moment = MAY

    def now(self, tz: tzinfo) -> datetime:
        return self.moment.astimezone(tz)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (writer, sink, sealing, upkeep, pruning):
        monkeypatch.setattr(module, "datetime", clock)
    return clock


def fill(database: TrailDatabase, clock: Clock, first: int = 1) -> None:
    """Two processes with rows around the beginning of July; the first one has a row of June behind one of July."""
    times = [MAY + timedelta(days=1), JUNE, JULY - timedelta(seconds=2), JULY - timedelta(seconds=1), JULY]
    times += [JULY - timedelta(milliseconds=1), JULY + timedelta(days=3)]
    clock.moment = MAY
    with database.opened() as one, database.opened() as other:
        for number, moment in enumerate(times, first):
            clock.moment = moment
            one.write(record(number, moment))
            if moment == JUNE:
                other.write(record(first + 50, moment))
            if number % 2:
                one._upkeep.seal()


@pytest.fixture
def filled(database: TrailDatabase, clock: Clock) -> TrailDatabase:
    fill(database, clock)
    clock.moment = SEPTEMBER
    return database


def test_prune_removes_a_beginning_of_each_chain(filled: TrailDatabase) -> None:
    with filled.trail() as trail:
        planned = trail.prune(JULY, dry_run=True)
        assert len(filled.serials()) == 8
        assert trail.prune(JULY) == planned
        assert list(trail.find(Query(until=JULY - timedelta(seconds=1), types=frozenset({"token"})))) == []
    # The row of June that was stored behind one of July stays: a chain loses its beginning alone.
    assert sorted(filled.serials()) == [5, 6, 7]
    report = filled.check()
    assert filled.damage() == []
    assert len([text for each in report.segments for text in each.accepted]) == 3
    assert report.segments[0].first.seq == 5
    assert int(filled.sql("SELECT min(seq) FROM audit_seal")[0]) > 1


def test_prune_again_and_everything(filled: TrailDatabase, clock: Clock) -> None:
    with filled.trail() as trail:
        trail.prune(JULY)
    fill(filled, clock, first=101)
    clock.moment = SEPTEMBER
    with filled.trail() as trail:
        trail.prune(AUGUST)
        assert list(trail.find(Query(until=AUGUST))) == []
        assert trail.prune(AUGUST, dry_run=True) == []
    assert filled.serials() == []
    assert filled.damage() == []


def test_prune_within_a_month(filled: TrailDatabase) -> None:
    """JUNE and two seconds of its end go, in PostgreSQL row by row, and nobody's turn is missed."""
    with filled.trail() as trail:
        trail.prune(JULY - timedelta(milliseconds=1500))
    assert sorted(filled.serials()) == [4, 5, 6, 7]
    assert filled.damage() == []
    with filled.trail() as trail:
        trail.prune(JULY + timedelta(days=1))
    assert sorted(filled.serials()) == [7]
    assert filled.damage() == []


def test_rows_that_no_prune_removed_are_missed(filled: TrailDatabase) -> None:
    with filled.trail() as trail:
        trail.prune(JULY)
    filled.sql("DELETE FROM audit_record WHERE writer = 1 AND seq <= 6")
    filled.sql("UPDATE audit_writer SET start_seq = 6 WHERE id = 1")
    assert any("number 7 follows 6" in each or "hash does not fit" in each for each in filled.damage())


@pytest.mark.parametrize("forged", [False, True], ids=["no event", "forged event"])
def test_rows_that_somebody_removed_are_not_told_as_pruned(database: TrailDatabase, clock: Clock, forged: bool) -> None:
    """The event that says so may be a forged one, in a row that the prune itself removes."""
    clock.moment = MAY
    with database.opened(key=KEY) as sink:
        sink.write_all([record(number, MAY) for number in range(1, 6)])
    clock.moment = AUGUST
    with database.opened(key=KEY) as sink:
        sink.write_all([record(number, AUGUST) for number in range(11, 16)])
    clock.moment = SEPTEMBER
    [_, name] = database.sql("SELECT name FROM audit_writer ORDER BY id")
    third = "(SELECT hash FROM audit_record WHERE writer = 2 AND seq = 3)"
    [line] = database.sql("SELECT line FROM audit_record WHERE writer = 2 AND seq = 3")
    details = json.dumps({"chain": name, "last": f"3:{json.loads(line)['hash']}"})
    event = f'{{"seq":2,"type":"event","kind":"audit.pruned","details":{details},"hash":"{"0" * 64}"}}'
    for statement in (
        f"UPDATE audit_writer SET start_seq = 3, start_hash = {third} WHERE id = 2",
        "DELETE FROM audit_record WHERE writer = 2 AND seq <= 3",
        f"UPDATE audit_record SET type = 'event', kind = 'audit.pruned', line = '{event}' WHERE writer = 1 AND seq = 2",
    )[: 3 if forged else 2]:
        database.sql(statement)
    assert any(name in each for each in database.damage(key=KEY))
    with database.trail(key=KEY) as trail:
        assert trail.prune(JULY)
        assert trail.prune(AUGUST) == []
    assert any(name in each for each in database.damage(key=KEY))


def test_rows_that_are_only_said_to_be_old_do_not_go(sqlite: SqliteTrail, clock: Clock) -> None:
    clock.moment = AUGUST
    with sqlite.opened(key=KEY) as sink:
        sink.write_all([record(number, AUGUST) for number in range(1, 6)])
    clock.moment = SEPTEMBER
    old = "'2026-05-02T00:00:00.000000Z'"
    sqlite.sql(f"UPDATE audit_record SET at = {old} WHERE seq <= 4")
    with sqlite.trail(key=KEY) as trail, pytest.raises(AuditError, match=r"the row 4 of .* an earlier time"):
        trail.prune(JULY)
    sqlite.sql("UPDATE audit_record SET line = replace(line, '2026-08', '2026-05') WHERE seq <= 4")
    with sqlite.trail(key=KEY) as trail, pytest.raises(AuditError, match=r"the row 4 of .* its hash does not fit"):
        trail.prune(JULY)
    assert sqlite.sql("SELECT count(*) FROM audit_record") == ["7"]


def test_a_process_goes_on_after_all_of_its_rows_were_pruned(database: TrailDatabase) -> None:
    with database.opened() as sink:
        sink.write(record(1))
        with database.trail() as trail:
            trail.prune(datetime.now(UTC) + timedelta(minutes=1))
        assert database.serials() == []
        sink.write(record(2))
        assert sink.health().healthy
    assert database.serials() == [2]
    assert database.damage() == []


def test_months_of_postgresql_go_as_a_whole(filled: TrailDatabase) -> None:
    if "path" in filled.options:
        assert filled.sql("SELECT name FROM sqlite_master WHERE name LIKE 'audit_record_2%'") == []
        return
    months = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'audit_record_2026_0%' "
    months += "AND relnamespace = current_schema()::regnamespace ORDER BY 1"
    assert {"audit_record_2026_05", "audit_record_2026_06", "audit_record_2026_07"} <= set(filled.sql(months))
    with filled.trail() as trail:
        trail.prune(JULY)
    # June has a row that stays.
    assert "audit_record_2026_05" not in filled.sql(months)
    assert filled.sql("SELECT count(*) FROM audit_record_2026_06") == ["1"]


@pytest.mark.parametrize("ended_at", [1, 2, 4])
def test_a_prune_that_was_interrupted_is_told_and_can_be_ended(
    filled: TrailDatabase, monkeypatch: pytest.MonkeyPatch, ended_at: int
) -> None:
    """Its events are stored, and a chain has lost some of the rows that go, or none."""
    before, begin_at, steps = JULY - timedelta(milliseconds=1500), pruning._begin_at, count(1)

    def begin_or_die(connection: Connection, writer: int, link: Link) -> None:
        if next(steps) == ended_at:
            raise KeyboardInterrupt
        begin_at(connection, writer, link)

    with monkeypatch.context() as patch, filled.trail() as trail:
        patch.setattr(pruning, "_CHUNK", 1)
        patch.setattr(pruning, "_begin_at", begin_or_die)
        with pytest.raises(KeyboardInterrupt):
            trail.prune(before)
    assert filled.damage() == []
    told = [each.unended for each in filled.check().segments if each.unended]
    assert any(f"run timestamp-server audit prune --before {before.isoformat()} again" in text for text in told)
    with filled.trail() as trail:
        trail.prune(before)
    assert sorted(filled.serials()) == [4, 5, 6, 7]
    report = filled.check()
    assert (filled.damage(), [each.unended for each in report.segments if each.unended]) == ([], [])
