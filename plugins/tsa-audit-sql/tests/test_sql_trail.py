"""What is written verifies, whoever wrote it, and what somebody changes in the database is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tsa_core.api import AuditEvent, Identity, PKIFailureInfo, RefusalRecord
from tsa_core.api.trail import Query, TrailLine
from tsa_core.api.transparency import Frontier, leaf_hash
from tsa_core.testing import on_threads

from .databases import TrailDatabase, record

KEY = "a key of some length"
WHO = Identity(name="build-server", tenant="acme", how="api-key")


def refusal(number: int) -> RefusalRecord:
    return RefusalRecord(
        request_id=f"refused-{number}",
        client_address="192.0.2.9",
        time=datetime.now(UTC),
        failure=PKIFailureInfo.BAD_ALG,
        reason="SHA-1 is not accepted",
        digest=bytes([number]) * 20,
    )


@pytest.mark.parametrize("key", [None, KEY])
def test_two_writers_refusals_and_events_verify(database: TrailDatabase, key: str | None) -> None:
    options = {} if key is None else {"key": key}
    with database.opened(**options) as one, database.opened(**options) as other:
        one.write_all([record(number, identity=WHO) for number in range(1, 40)])
        on_threads(lambda number: (one if number % 2 else other).write(record(number)), range(100, 140))
        other.write_refusals([refusal(1), refusal(2)])
        other.event(AuditEvent(kind="clock.state", time=datetime.now(UTC), details={"state": "free-running"}))
    report = database.check(**options)
    assert (report.intact, report.faults, [each.damage for each in report.segments]) == (True, [], [""] * 3)
    assert [each.tokens + each.refusals for each in report.segments] == [59, 22, 0]
    assert report.segments[-1].chain == "seals"
    assert all(each.ended for each in report.segments[:2])
    if key is not None:
        assert "its hash does not fit" in database.damage()[0]


def test_found_by_what_it_says(database: TrailDatabase) -> None:
    begun = datetime.now(UTC)
    with database.opened() as sink:
        sink.write_all([record(number) for number in range(1, 20)])
        sink.write(record(77, identity=WHO, client_address="192.0.2.7"))
        sink.write_refusals([refusal(5)])
        sink.event(AuditEvent(kind="clock.state", time=datetime.now(UTC), details={"state": "free-running"}))
    with database.trail() as trail:

        def found(query: Query) -> list[str]:
            lines = [line for line in trail.find(query) if isinstance(line, TrailLine)]
            return [str(line.fields.get("request_id") or line.fields["type"]) for line in lines]

        assert found(Query(serial_number=77)) == ["sample-77"]
        assert found(Query(digest=record(12).digest)) == ["sample-12"]
        assert found(Query(digest=bytes([5]) * 20)) == ["refused-5"]
        for who in (Query(tenant="acme"), Query(identity="build-server"), Query(client="192.0.2.7")):
            assert found(who) == ["sample-77"]
        for nothing in (Query(serial_number=78), Query(tenant="other"), Query(until=begun)):
            assert found(nothing) == []
        assert len(found(Query(since=begun))) == 24
        assert found(Query(types=frozenset({"refusal"}))) == ["refused-5"]
        assert found(Query(events=True, since=begun)) == ["open", "event", "close"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("client = '192.0.2.66'", "the row 4, column client"),
        ("tenant = 'other'", "the row 4, column tenant"),
        ("at = '2026-01-01T00:00:00.000000Z'", "the row 4, column at"),
        ("line = replace(line, '127.0.0.1', '127.0.0.2')", "its hash does not fit"),
        ("line = 'nothing'", "this is no line of an audit trail"),
        ("line = replace(line, 'sample', 's\N{LATIN SMALL LETTER A WITH DIAERESIS}mple')", "its hash does not fit"),
    ],
)
def test_a_changed_column_is_named(sqlite: TrailDatabase, change: str, named: str) -> None:
    with sqlite.opened() as sink:
        sink.write_all([record(number) for number in range(1, 9)])
    [name] = sqlite.sql("SELECT name FROM audit_writer")
    sqlite.sql(f"UPDATE audit_record SET {change} WHERE seq = 4")
    assert sqlite.damage()[0].startswith(f"{name}: line 4: {named}")


@pytest.mark.parametrize("column", ["seq", "at", "type", "kind", "serial", "digest", "hash", "line", "client"])
def test_any_value_of_any_type_is_damage(sqlite: TrailDatabase, column: str) -> None:
    with sqlite.opened() as sink:
        sink.write_all([record(number) for number in range(1, 9)])
    sqlite.sql(f"UPDATE audit_record SET {column} = x'ff00fe' WHERE seq = 4")
    assert sqlite.damage()


def test_what_postgresql_stores_is_compared_too(database: TrailDatabase) -> None:
    with database.opened() as sink:
        sink.write_all([record(number) for number in range(1, 9)])
    database.sql("UPDATE audit_record SET serial = digest WHERE seq = 5")
    assert "the row 5, column serial" in database.damage()[0]


def test_what_a_chain_says_of_its_beginning_is_in_its_lines(sqlite: TrailDatabase) -> None:
    """No hash covers `audit_writer.opened`, so that nothing that is said of a trail comes from there."""
    with sqlite.opened() as sink:
        sink.write(record(1))
    before = [each.begun for each in sqlite.check().segments]
    sqlite.sql("UPDATE audit_writer SET opened = '2001-01-01T00:00:00.000000Z'")
    assert [each.begun for each in sqlite.check().segments] == before
    assert datetime.now(UTC) - datetime.fromisoformat(before[0]) < timedelta(days=1)


def test_removed_rows_are_missed(database: TrailDatabase) -> None:
    with database.opened() as sink, database.opened() as other:
        sink.write_all([record(number) for number in range(1, 9)])
        other.write(record(20))
    first, second = database.sql("SELECT name FROM audit_writer ORDER BY id")
    database.sql("DELETE FROM audit_record WHERE writer = 1 AND seq > 7")
    assert database.damage()[0] == f"{first}: line 8: the rows behind 7 are missing: 10 was the last one"
    # Who removes rows and also says that they never were is found out by the seal.
    database.sql(
        "UPDATE audit_writer SET head_seq = 7, head_hash = "
        "(SELECT hash FROM audit_record WHERE writer = 1 AND seq = 7) WHERE id = 1"
    )
    assert any("has 10:" in fault and first in fault for fault in database.damage())
    database.sql("DELETE FROM audit_record WHERE writer = 2")
    database.sql("DELETE FROM audit_writer WHERE id = 2")
    assert any(f"covers rows of {second}, which are not there" in fault for fault in database.damage())


def test_a_chain_that_is_put_in_later_is_noticed(database: TrailDatabase) -> None:
    with database.opened() as sink:
        sink.write(record(1))
    with database.opened() as sink:
        sink.write(record(2))
    assert database.damage() == []
    with database.opened() as forger:
        forger.write(record(3, datetime.now(UTC) - timedelta(days=3)))
    [fault] = database.damage()
    assert "seal 3 is the first over it" in fault


def test_a_rewritten_chain_has_another_root(database: TrailDatabase) -> None:
    with database.opened() as sink:
        sink.write_all([record(number) for number in range(1, 5)])
    with database.opened() as forger:
        forger.write_all([record(number) for number in range(101, 105)])
    # All rows of the second chain become those of the first one, and every hash fits.
    for statement in (
        "DELETE FROM audit_record WHERE writer = 1",
        "UPDATE audit_record SET writer = 1 WHERE writer = 2",
        "UPDATE audit_writer SET head_hash = (SELECT head_hash FROM audit_writer WHERE id = 2) WHERE id = 1",
        "DELETE FROM audit_writer WHERE id = 2",
    ):
        database.sql(statement)
    damage = database.damage()
    assert not any("hash does not fit" in each for each in damage)
    assert any("seal 1 has" in each for each in damage)


def test_rows_of_nobody_are_counted(database: TrailDatabase) -> None:
    with database.opened() as sink:
        sink.write(record(1))
    database.sql("UPDATE audit_record SET writer = 99 WHERE seq = 3")
    assert any("1 rows belong to no chain" in each for each in database.damage())


def test_rows_of_a_process_that_is_said_to_have_none_are_counted(database: TrailDatabase) -> None:
    """Nobody reads them as a chain, and one that says `audit.pruned` would keep the seals from missing a chain."""
    with database.opened(key=KEY) as sink:
        sink.write_all([record(number) for number in range(1, 5)])
    with database.opened(key=KEY) as sink:
        sink.write(record(5))
    assert database.damage(key=KEY) == []
    [first, _] = database.sql("SELECT name FROM audit_writer ORDER BY id")
    event = f'{{"type":"event","kind":"audit.pruned","details":{{"chain":"{first}","last":"99:{"0" * 64}"}}}}'
    for statement in (
        "DELETE FROM audit_record WHERE writer = 1 AND seq > 1",
        "UPDATE audit_writer SET head_seq = 0, sealed_seq = 0, name = 'nobody' WHERE id = 1",
        f"UPDATE audit_record SET type = 'event', kind = 'audit.pruned', line = '{event}' WHERE writer = 1",
    ):
        database.sql(statement)
    assert any("1 rows belong to no chain" in each for each in database.damage(key=KEY))


@pytest.mark.parametrize("said", [5, 900])
def test_rows_that_are_only_said_to_be_sealed_are_told(
    database: TrailDatabase, said: int, caplog: pytest.LogCaptureFixture
) -> None:
    """They would be in no seal, and in no anchor: whoever removed the whole chain later would not be found out."""
    with database.opened() as sink:
        sink.write_all([record(number) for number in range(1, 4)])
        sink._upkeep.seal()
        sink.write_all([record(number) for number in range(4, 9)])
        database.sql(f"UPDATE audit_writer SET sealed_seq = {said}")
        [fault] = database.damage()
        assert f"said to be sealed up to {said}, and no seal covers those from 5 on" in fault
        sink._upkeep.seal()
        assert ("nothing would seal those to come" in caplog.text) is (said == 900)


def test_a_head_that_is_no_rows_hash_is_told(database: TrailDatabase) -> None:
    """It is what an anchor would hold, and no row would ever fit that anchor."""
    with database.opened() as sink:
        sink.write_all([record(number) for number in range(1, 4)])
    assert database.damage() == []
    database.sql("UPDATE audit_writer SET head_hash = start_hash")
    assert any("another hash for the last row, 5" in each for each in database.damage())


def test_seals_are_roots_over_all_writers(database: TrailDatabase) -> None:
    with database.opened() as one, database.opened() as other:
        one.write_all([record(number) for number in range(1, 9)])
        other.write_all([record(number) for number in range(11, 19)])
        one._upkeep.seal()
        one._upkeep.seal()  # nothing new: no seal
        other.write(record(30))
        other._upkeep.seal()
    encode = "hex(hash)" if "path" in database.options else "encode(hash, 'hex')"
    tree = Frontier()
    for digest in database.sql(f"SELECT {encode} FROM audit_record WHERE seq <= 9 ORDER BY writer, seq"):
        tree.append(leaf_hash(bytes.fromhex(digest)))
    lines = database.sql("SELECT line FROM audit_seal ORDER BY seq")
    assert f'"rows":18,"root":"{tree.root().hex()}"' in lines[0]
    assert '"rows":1,' in lines[1]
    assert database.damage() == []
