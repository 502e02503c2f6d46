"""A log that an engine keeps: every entry arrives, whatever the engine answers, and nothing is believed unproven."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tsa_core.api import AuditError
from tsa_core.api.transparency import NoteSigner, SignatureType, entry_of
from tsa_core.testing import sample_record, wait_until
from tsa_log.engine import Engine
from tsa_log.engine_sequencer import EngineSequencer
from tsa_log.journal import Journal
from tsa_log.options import LogOptions
from tsa_log.remote_log import RemoteLog
from tsa_log.sink import LogSink, open_sink
from tsa_log.state import StateFiles
from tsa_log.storage import LocalStorage
from tsa_log.trial import try_sink

from .engines import FakeEngine, Fault, loses_the_answer, says
from .logs import DISORDER, LOG_KEY, ORIGIN, WITNESS_KEY, entries, entry, numbered, options, publish
from .peers import Answer, drip, listening, say_nothing


class Machine:
    """What one machine has of the log: its journal, its sequencer and its copy."""

    def __init__(self, folder: Path, engine_url: str, *, lost_after: float = 600, seconds: float = 20) -> None:
        self.public, self.private = folder / "public", folder / "private"
        (self.private / "pending").mkdir(parents=True, exist_ok=True)
        self.storage = LocalStorage(self.public, self.private)
        self.journal = Journal(self.private / "pending")
        self.url = engine_url
        self.lost_after, self.seconds = lost_after, seconds
        self.sequencer = self.restart()

    def restart(self) -> EngineSequencer:
        """Go on as another process."""
        self.sequencer = EngineSequencer(
            self.private,
            self.storage,
            ORIGIN,
            Engine(self.url, connections=4),
            RemoteLog(self.url, [LOG_KEY.key]),
            disorder=DISORDER,
            timeout=timedelta(seconds=self.seconds),
            lost_after=timedelta(seconds=self.lost_after),
        )
        return self.sequencer

    def run(self) -> bool:
        """Do what the sink's thread does between two intervals; return whether all is published."""
        publish(self.private, self.storage, self.sequencer)
        consumed = StateFiles(self.private).read_published().consumed
        journals = (self.private / "pending").iterdir()
        return all(consumed.get(path.name, 0) == path.stat().st_size for path in journals)

    def close(self) -> None:
        self.sequencer.close()
        self.journal.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path / "engine") as engine:
        yield engine


@pytest.fixture
def machine(tmp_path: Path, engine: FakeEngine) -> Iterator[Machine]:
    machine = Machine(tmp_path / "log", engine.url)
    yield machine
    machine.close()


def test_every_entry_is_in_the_engines_log_and_in_the_copy(machine: Machine, engine: FakeEngine) -> None:
    others = numbered(1000, 1250)
    engine.fill(others)
    wanted = numbered(0, 20)
    for batch in (wanted[:1], wanted[1:2], wanted[2:]):
        machine.journal.store(batch)
        assert machine.run()
    assert sorted(entries(machine.public)) == sorted([*others, *wanted])
    assert entries(machine.public) == entries(engine.folder)
    assert machine.sequencer.failure == ""


def test_an_entry_that_is_none_is_not_posted(machine: Machine, engine: FakeEngine) -> None:
    machine.journal.store([b"none", entry(1)])
    assert machine.run()
    assert engine.posted == entries(machine.public) == [entry(1)]


def test_a_lost_answer_leaves_one_entry_where_the_engine_finds_duplicates(machine: Machine, engine: FakeEngine) -> None:
    engine.faults = [loses_the_answer]
    machine.journal.store([entry(1)])
    machine.run()
    assert "cannot be reached" in machine.sequencer.failure
    assert machine.run()
    assert engine.posted == [entry(1)] * 2
    assert entries(machine.public) == [entry(1)]


def test_a_lost_answer_leaves_two_where_it_does_not(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "engine", finds_duplicates=False) as engine:
        machine = Machine(tmp_path / "log", engine.url)
        engine.faults = [loses_the_answer]
        machine.journal.store([entry(1), entry(2)])
        machine.run()
        assert machine.run()
        assert sorted(set(entries(machine.public))) == sorted([entry(1), entry(2)])
        assert entries(machine.public).count(entry(1)) + entries(machine.public).count(entry(2)) == 3
        machine.close()


def test_what_was_posted_before_a_crash_is_not_entered_again(machine: Machine, engine: FakeEngine) -> None:
    machine.journal.store([entry(1)])
    machine.run()
    shutil.copyfile(machine.private / "state.json", machine.private / "before")
    machine.journal.store([entry(2), entry(3)])
    machine.run()
    shutil.copyfile(machine.private / "before", machine.private / "state.json")
    machine.restart()
    assert machine.run()
    assert entries(machine.public) == entries(engine.folder)
    assert sorted(entries(machine.public)) == sorted(map(entry, (1, 2, 3)))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (says(b"many"), "the index in its answer is not a number"),
        (says(b""), "the index in its answer"),
        (says(b"-1"), "the index in its answer"),
        (says(b"9" * 19), "the index in its answer"),
        (says(b"1" * 5000), "the index in its answer"),
        (says(b"\xff\x1b[31m", status=500), "it answered 500"),
        (says(b"", status=302, Location="http://127.0.0.1:9/"), "it answered 302"),
        (says(b"0"), "an entry is not at index 0, as it had said"),
    ],
    ids=["word", "empty", "sign", "large", "long", "500", "redirect", "another's"],
)
def test_a_wrong_answer_is_not_believed(machine: Machine, engine: FakeEngine, fault: Fault, message: str) -> None:
    engine.add(entry(1))
    machine.run()
    engine.faults = [fault]
    machine.journal.store([entry(2)])
    assert not machine.run()
    assert message in machine.sequencer.failure
    assert machine.run()
    assert entries(machine.public) == [entry(1), entry(2)]
    assert machine.sequencer.failure == ""


def test_an_index_that_the_log_never_reaches_is_asked_for_again(tmp_path: Path, engine: FakeEngine) -> None:
    machine = Machine(tmp_path / "log", engine.url, lost_after=0.001)
    engine.faults = [says(b"77")]
    machine.journal.store([entry(1)])
    while "index 77, and its log has 0 entries" not in machine.sequencer.failure:
        assert not machine.run()
    assert machine.run()
    assert entries(machine.public) == [entry(1)]
    machine.close()


def test_a_pause_that_is_asked_for_is_kept(machine: Machine, engine: FakeEngine) -> None:
    engine.faults = [says(b"later", status=503, Retry_After="1")]
    machine.journal.store([entry(1)])
    began = time.monotonic()
    machine.run()
    assert "it answered 503: later" in machine.sequencer.failure
    machine.run()
    if time.monotonic() - began < 1:
        assert len(engine.posted) == 1
        assert "it answered 503: later" in machine.sequencer.failure
    wait_until(machine.run, seconds=60, what="it is posted again")
    assert time.monotonic() - began >= 1
    assert entries(machine.public) == [entry(1)]


def test_an_engine_that_is_away_holds_up_nothing_but_the_log(machine: Machine, engine: FakeEngine) -> None:
    machine.journal.store([entry(1)])
    machine.run()
    engine.stop()
    machine.journal.store([entry(2)])
    machine.run()
    assert "cannot be reached: Connection refused" in machine.sequencer.failure
    engine.start()
    machine.run()
    assert entries(machine.public) == [entry(1), entry(2)]
    assert machine.sequencer.failure == ""


def test_another_history_is_not_copied(engine: FakeEngine, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "log", engine.url, lost_after=0.001)
    machine.journal.store([entry(1), entry(2)])
    machine.run()
    before = entries(machine.public)
    engine.stop()
    with FakeEngine(tmp_path / "fork", port=engine.port) as fork:
        for number in range(7, 10):
            fork.add(entry(number))
        machine.run()
        assert "does not continue the 2 that were copied" in machine.sequencer.failure
        assert entries(machine.public) == before
        machine.journal.store([entry(3)])
        machine.run()
    engine.start()
    wait_until(machine.run, seconds=60, what="the entry is in the right log")
    assert entries(machine.public) == [*before, entry(3)]
    machine.close()


def test_an_old_checkpoint_from_a_cache_takes_nothing_back(machine: Machine, engine: FakeEngine) -> None:
    engine.add(entry(1))
    cached = (engine.folder / "checkpoint").read_bytes()
    engine.add(entry(2))
    machine.run()
    (engine.folder / "checkpoint").write_bytes(cached)
    machine.run()
    assert entries(machine.public) == [entry(1), entry(2)]
    assert machine.sequencer.failure == ""


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("checkpoint", b"nothing", "its checkpoint cannot be read"),
        ("checkpoint", None, "it has no checkpoint"),
        ("tile/entries/000.p/3", b"\0\1", "tile/entries/000.p/3 cannot be read"),
        ("tile/entries/000.p/3", b"\0\0" * 3, "its entries are not those that it signed"),
        ("tile/entries/000.p/3", None, "it has no tile/entries/000.p/3"),
        ("tile/entries/000.p/3", bytes(17_000_000), "is longer than"),
    ],
    ids=["no note", "no checkpoint", "damaged bundle", "other entries", "no bundle", "huge"],
)
def test_damaged_files_are_not_copied(
    machine: Machine, engine: FakeEngine, name: str, data: bytes | None, message: str
) -> None:
    for number in range(3):
        engine.add(entry(number))
    place = engine.folder / name
    if data is None:
        place.unlink()
    else:
        place.write_bytes(data)
    machine.run()
    assert message in machine.sequencer.failure
    assert entries(machine.public) == []


def test_a_checkpoint_by_another_key_is_refused(machine: Machine, engine: FakeEngine) -> None:
    engine.signers = [NoteSigner(ORIGIN, SignatureType.ED25519, bytes(32))]
    engine.add(entry(1))
    machine.run()
    assert "is not signed by the log's key" in machine.sequencer.failure


@pytest.mark.parametrize(
    "answer", [say_nothing, drip(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")], ids=["silence", "drip"]
)
def test_an_engine_that_drips_is_given_up(tmp_path: Path, answer: Answer) -> None:
    """Without a limit over each step, this test would not end."""
    with listening(answer) as url:
        machine = Machine(tmp_path, url, seconds=0.3)
        machine.journal.store(numbered(0, 9))
        machine.run()
        assert "no answer in time" in machine.sequencer.failure
        machine.close()


def test_time_that_goes_back_stops_the_log_and_an_entry_that_waited_does_not(
    machine: Machine, engine: FakeEngine
) -> None:
    other = Journal(machine.private / "pending")
    engine.faults = [says(b"", status=500)]
    machine.journal.store([entry(1)])
    machine.run()
    machine.restart()  # the entry was compared by a process that has gone
    other.store([entry(2, after=timedelta(minutes=5))])
    engine.faults = [says(b"", status=500)]
    machine.run()
    machine.restart()
    machine.run()
    machine.run()
    assert not machine.sequencer.state.stopped
    assert sorted(entries(machine.public)) == sorted([entry(1), entry(2, after=timedelta(minutes=5))])
    machine.journal.store([entry(3, after=timedelta(minutes=4))])
    machine.run()
    assert "60.000 s older" in machine.sequencer.state.stopped
    other.close()


# -- the sink -------------------------------------------------------------------------------------------------------


def options_of(folder: Path, engine: FakeEngine, **more: object) -> LogOptions:
    tessera = {"url": engine.url, "log_key": str(LOG_KEY.key), "token": "s3cret", "timeout": "5s"}
    return options(folder, key=None, backend="tessera", tessera=tessera, **more)


def sink_of(folder: Path, engine: FakeEngine, **more: object) -> LogSink:
    return open_sink(options_of(folder, engine, **more))


def test_a_check_says_whether_the_engines_log_can_be_read_and_posts_nothing(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "engine") as engine:
        settings = options_of(tmp_path / "log", engine)
        assert try_sink(settings).health().healthy
    assert "cannot be reached" in try_sink(settings).health().reason
    assert engine.posted == []
    assert not (tmp_path / "log").exists()


def test_an_engine_that_is_down_at_start_or_later_closes_the_gate_until_it_is_there(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path / "engine").start()
    engine.stop()
    sink = sink_of(tmp_path / "log", engine, max_delay="200ms")
    wanted, refused = set(), "cannot be reached: Connection refused"
    for number in (1, 2):
        sink.write(sample_record(number))
        wanted.add(entry_of(sample_record(number).response).encode())
        wait_until(lambda: refused in sink.health().reason, seconds=60, what="the gate is closed")
        with pytest.raises(AuditError, match="published nothing new"):
            sink.write(sample_record(3))
        with engine:
            wait_until(lambda: sink.health().healthy, seconds=60, what="the gate is open again")
            assert set(entries(tmp_path / "log" / "public")) == wanted
    sink.close()
    assert set(engine.headers) == {"Bearer s3cret"}


def test_a_token_that_others_can_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeEngine(tmp_path / "engine") as engine:
        sink_of(tmp_path / "log", engine).close()
        assert "is not HTTPS" not in caplog.text
        monkeypatch.setattr("tsa_log.sink.sends_cleartext", lambda url: url == engine.url)
        sink_of(tmp_path / "log", engine).close()
        assert "audit.tokenlog.tessera.url is not HTTPS" in caplog.text


def test_tokens_wait_for_the_engine_and_its_witness(tmp_path: Path) -> None:
    witnesses = [{"key": str(WITNESS_KEY.key)}]
    waits = {"slow": "witnessed", "middle": "integrated"}
    with FakeEngine(tmp_path / "engine") as engine:
        engine.signers.append(WITNESS_KEY)
        sink = sink_of(
            tmp_path / "log", engine, witnesses=witnesses, witness_threshold=1, wait=waits, wait_timeout="60s"
        )
        for profile in waits:
            sink.write(replace(sample_record(1), profile=profile))
            assert entry_of(sample_record(1).response).encode() in entries(engine.folder)
        assert entries(tmp_path / "log" / "public") == entries(engine.folder)
        sink.close()


def test_a_log_without_its_engines_witness_is_not_published(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "engine") as engine:
        sink = sink_of(
            tmp_path / "log", engine, witnesses=[{"key": str(WITNESS_KEY.key)}], witness_threshold=1, max_delay="200ms"
        )
        sink.write(sample_record(1))
        lacking = "0 of 1 witnesses cosigned"
        wait_until(lambda: lacking in sink.health().reason, seconds=60, what="the gate is closed")
        engine.signers.append(WITNESS_KEY)
        engine.publish()
        wait_until(lambda: sink.health().healthy, seconds=60, what="the gate is open again")
        sink.close()
