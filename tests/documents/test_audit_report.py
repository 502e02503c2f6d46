"""timestamp-server audit report: what a trail shows of a period, and what it cannot show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tsa_core.api import AuditEvent
from tsa_core.api.trail import (
    BEGINNING,
    Segment,
    TokenMembers,
    begin_hash,
    check_trail,
    encode,
    event_members,
    refusal_members,
    seal,
    utc_text,
)
from tsa_core.cli.audit.group import audit
from tsa_core.documents.report.spans import Minutes, Outage, merged
from tsa_core.documents.report.tally import MOST_EVENTS, MOST_KINDS, OTHERS, Tally
from tsa_core.testing import sample_record, sample_refusal

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
KEY = b"a key of some length"
MIDDLE = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Writer:
    """Writes a file as tsa-audit-file does, with whatever times."""

    def __init__(self, path: Path, key: bytes | None = None) -> None:
        self.path, self._link, self._begun = path, BEGINNING, begin_hash(key)
        self._tokens = TokenMembers(digests=False, tokens=False)
        keyed = key is not None
        first = {"version": 1, "time": utc_text(BEGIN), "file": 1, "keyed": keyed, "previous": BEGINNING.digest}
        path.write_bytes(b"")
        self.put(encode({"type": "file", **first, "previous_file": None}))

    def put(self, members: str) -> None:
        line, self._link = seal(members, self._link, self._begun)
        with self.path.open("ab") as stream:
            stream.write(line.encode("ascii"))

    def token(self, time: datetime, profile: str = "default") -> None:
        record = sample_record(1)
        record.gen_time, record.profile = time, profile
        self.put(self._tokens(record))

    def event(self, kind: str, time: datetime, **details: str) -> None:
        self.put(event_members(AuditEvent(kind=kind, time=time, details={"pid": "7", **details})))


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    monkeypatch.delenv("TSA_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return Writer(tmp_path / "audit.jsonl")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(audit, ["report", *arguments, "audit.jsonl"])


def section(text: str, title: str) -> str:
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section {title}"
    return found[1]


# -- what it shows ------------------------------------------------------------------------------------------------

auditfile = pytest.mark.plugin("auditfile")


@auditfile
def test_tokens_are_counted_by_month_and_profile(writer: Writer) -> None:
    for time, profile in (
        (BEGIN - timedelta(microseconds=1), "default"),
        (BEGIN, "default"),
        (MIDDLE, "default"),
        (MIDDLE, "qualified"),
        (END - timedelta(microseconds=1), "default"),
        (END, "default"),
    ):
        writer.token(time, profile)
    result = run("--year", "2026")
    assert result.exit_code == 0, result.output
    rows = section(result.stdout, "Time-stamps by month and profile")
    for row in ("| 2026-01 | default | 1 |", "| 2026-06 | qualified | 1 |", "| 2026-12 | default | 1 |"):
        assert row in rows
    assert "| Time-stamps | 4 |" in result.stdout
    assert "| token | 4 |" in result.stdout
    assert "| Time-stamps | 1 |" in run("--year", "2026", "--profile", "qualified").stdout
    assert "| Time-stamps | 2 |" in run("--from", "2026-06-01T12:00:00+00:00", "--to", "2026-06-02").stdout


@auditfile
def test_certificates_are_in_use_from_the_first_start_until_they_are_replaced(writer: Writer) -> None:
    a, b = "a" * 64, "b" * 64
    writer.event("profile.certificate", BEGIN - timedelta(days=9), profile="default", certificate_sha256=a)
    writer.event("profile.certificate", BEGIN + timedelta(days=9), profile="default", certificate_sha256=a)
    writer.event("profile.certificate", MIDDLE, profile="default", certificate_sha256=b, previous_certificate_sha256=a)
    result = run("--year", "2026")
    rows = section(result.stdout, "Keys and certificates in use")
    assert f"| default | 2025-12-23 00:00:00 | 2026-06-01 12:00:00 |  | `{a}`" in rows
    assert f"| default | 2026-06-01 12:00:00 | still in use |  | `{b}`" in rows
    assert a not in run("--year", "2027").stdout


@auditfile
def test_closings_of_the_gate_of_several_processes_are_one(writer: Writer) -> None:
    for pid, begin, end in (("7", 0, 10), ("8", 1, 12), ("7", 60, 61)):
        details = {"pid": pid, "reason": "the time servers disagree"}
        writer.event("clock.state", MIDDLE + timedelta(minutes=begin), **details, issuing="false")
        writer.event("clock.state", MIDDLE + timedelta(minutes=end), pid=pid, issuing="true", reason="")
    rows = section(run("--year", "2026").stdout, "Closings of the clock gate")
    assert "| 2026-06-01 12:00:00 | 2026-06-01 12:12:00 | 12 min | 2 | the time servers disagree |" in rows
    assert "| 2026-06-01 13:00:00 | 2026-06-01 13:01:00 | 60.0 s | 1 |" in rows
    assert "2 times, 13 min in all." in rows


@auditfile
def test_a_closing_without_an_end_says_so_and_a_new_start_ends_it(writer: Writer) -> None:
    writer.event("clock.state", MIDDLE, issuing="false", reason="no server")
    assert "| 2026-06-01 12:00:00 | no line says | unknown | 1 | no server |" in run("--year", "2026").stdout
    writer.event("service.started", MIDDLE + timedelta(hours=3))
    assert "| 2026-06-01 12:00:00 | 2026-06-01 15:00:00 | 3.0 h | 1 | no server |" in run("--year", "2026").stdout


@auditfile
def test_a_closing_ends_with_its_process_and_hides_no_later_one(writer: Writer) -> None:
    writer.event("clock.state", MIDDLE, issuing="false", reason="no server")
    writer.put(encode({"type": "close", "time": utc_text(MIDDLE + timedelta(hours=1)), "pid": 8}))
    writer.put(encode({"type": "close", "time": utc_text(MIDDLE + timedelta(hours=2)), "pid": 7}))
    writer.event("clock.state", MIDDLE + timedelta(hours=5), pid="9", issuing="false", reason="no server")
    writer.event("clock.state", MIDDLE + timedelta(hours=6), pid="9", issuing="true", reason="")
    rows = section(run("--year", "2026").stdout, "Closings of the clock gate")
    assert "| 2026-06-01 12:00:00 | 2026-06-01 14:00:00 | 2.0 h | 1 | no server |" in rows
    assert "| 2026-06-01 17:00:00 | 2026-06-01 18:00:00 | 60 min | 1 | no server |" in rows


@auditfile
def test_an_outage_of_the_sink_itself_is_told_by_its_end(writer: Writer) -> None:
    writer.event(
        "service.readiness",
        MIDDLE,
        ready="true",
        unready_since=utc_text(MIDDLE - timedelta(hours=5)),
        causes="audit:auditfile: the disk is full",
    )
    rows = section(run("--year", "2026").stdout, "The service was not ready")
    assert "| 2026-06-01 07:00:00 | 2026-06-01 12:00:00 | 5.0 h | 1 | audit:auditfile: the disk is full |" in rows


@auditfile
def test_times_without_a_line_are_told(writer: Writer) -> None:
    for minute in (0, 1, 5, 30):
        writer.token(MIDDLE + timedelta(minutes=minute))
    rows = section(run("--year", "2026").stdout, "Nothing was written")
    assert "| 2026-06-01 12:06:00 | 2026-06-01 12:30:00 | 24 min |" in rows
    assert "12:02:00 |" not in rows, "three minutes are no silence"


@auditfile
def test_a_step_that_two_processes_saw_is_one(writer: Writer) -> None:
    for pid, later in (("7", 0.0), ("8", 0.7), ("7", 60.0)):
        writer.event("clock.step", MIDDLE + timedelta(seconds=later), pid=pid, seconds="-2.500000")
    rows = section(run("--year", "2026").stdout, "The clock was set")
    assert rows.count("-2.500000") == 2


@auditfile
def test_ceremonies_starts_and_refusals_are_listed(writer: Writer) -> None:
    writer.event("key.ceremony", MIDDLE, attendees="Ada (officer)", key_sha256="c" * 64, protocol_sha256="d" * 64)
    writer.event("key.destroyed", MIDDLE, attendees="Ada (officer)", key_sha256="e" * 64, protocol_sha256="f" * 64)
    writer.event("service.started", MIDDLE, version="0.1.0", host="tsa1")
    writer.event("service.reloaded", MIDDLE, version="0.1.0")
    refusal = sample_refusal(3)
    writer.put(refusal_members(refusal, digests=False).replace(utc_text(refusal.time), utc_text(MIDDLE)))
    text = run("--year", "2026").stdout
    assert f"| key made or taken | Ada (officer) | `{'c' * 64}` | `{'d' * 64}` |" in text
    assert f"| key destroyed | Ada (officer) | `{'e' * 64}` |" in text
    assert "| start | 0.1.0 | tsa1 | 7 |" in text
    assert "| reload | 0.1.0 |  | 7 |" in text
    assert f"| {refusal.failure.text} | " in section(text, "Refusals by reason")


# -- what is wrong, and what is not shown -------------------------------------------------------------------------


@auditfile
def test_a_damaged_trail_gives_a_report_that_says_so_and_exit_code_1(writer: Writer) -> None:
    for _ in range(3):
        writer.token(MIDDLE)
    data = writer.path.read_bytes()
    at = data.rindex(b"default")
    writer.path.write_bytes(data[:at] + b"defamed" + data[at + 7 :])
    result = run("--year", "2026", "--output", "report.md")
    assert result.exit_code == 1
    text = Path("report.md").read_text("utf-8")
    assert "The trail is NOT what was written" in text
    assert "DAMAGED: audit.jsonl: line 4: its hash does not fit" in text
    assert "| Time-stamps | 2 |" in text


@auditfile
def test_lines_that_fit_prove_no_more_than_key_and_anchors_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TSA_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("key").write_bytes(KEY)
    for key, flags, said in (
        (None, [], "Nothing shows whether all of them were computed anew"),
        (KEY, ["--key-file", "key"], "OK: Every line of the trail fits the one before it. Nobody without the key"),
    ):
        Writer(tmp_path / "audit.jsonl", key).token(MIDDLE)
        result = run("--year", "2026", *flags)
        assert result.exit_code == 0, result.output
        assert said in section(result.stdout, "Summary")
        assert ("OK: " in result.stdout) == (key is not None)


@auditfile
def test_what_cannot_be_shown_is_said(writer: Writer) -> None:
    writer.token(MIDDLE)
    limits = section(run("--year", "2025").stdout, "What this report does not show")
    assert "Requests that a guard refused" in limits
    assert "there is no anchor" in limits
    assert "Anything before 2026-01-01 00:00:00, when the trail begins." in limits
    assert "this report was made: its period was not over" in section(
        run("--from", "2026-01-01", "--to", "2100-01-01", "--profile", "x").stdout, "What this report does not show"
    )


@auditfile
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "of which time"),
        (["--year", "2026", "--from", "2026-01-01"], "give --year, or --from and --to"),
        (["--from", "2026-02-01", "--to", "2026-01-01"], "--from must be before --to"),
        (["--from", "0001-01-01"], "100 years at most"),
        (["--to", "2026-01-01"], "of which time"),
    ],
)
def test_a_period_that_is_none_is_refused(writer: Writer, arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.output


@auditfile
def test_hostile_lines_are_texts_in_html(writer: Writer) -> None:
    evil = "<script>alert(1)</script>"
    writer.token(MIDDLE, evil)
    writer.event("clock.state", MIDDLE, issuing="false", reason=evil)
    writer.event("profile.certificate", MIDDLE, profile=evil, certificate_sha256=evil)
    result = run("--year", "2026", "--format", "html")
    assert result.exit_code == 0, result.output
    assert "&lt;script&gt;" in result.stdout
    assert "<script" not in result.stdout


# -- bounded memory -----------------------------------------------------------------------------------------------

SEGMENT = Segment(name="s", lines=lambda: ())


def lines(count: int) -> Iterator[Mapping[str, Any]]:
    for number in range(count):
        time = utc_text(MIDDLE + timedelta(minutes=2 * number))
        yield {"type": "token", "gen_time": time, "profile": f"p{number}"}
        yield {"type": "refusal", "time": time, "failure": f"f{number}", "reason": f"r{number}"}
        yield {"type": f"t{number}", "time": time}
        details = {"pid": f"{number}", "profile": "p", "certificate_sha256": f"{number}", "issuing": "false"}
        for kind in ("clock.state", "clock.step", "profile.certificate", f"k{number}"):
            yield {"type": "event", "kind": kind, "time": time, "details": details}


def test_whatever_a_trail_holds_the_tally_stays_small() -> None:
    tally = Tally(begin=BEGIN, end=END)
    for fields in lines(MOST_EVENTS + 700):
        tally.line(SEGMENT, fields)
    tally.finish()
    assert len(tally.tokens) <= MOST_KINDS + 12
    assert sum(tally.tokens.values()) == MOST_EVENTS + 700
    assert sum(count for (_, profile), count in tally.tokens.items() if profile == OTHERS) > MOST_EVENTS
    assert len(tally.refusals) <= MOST_KINDS + 12
    assert len(tally.kinds) <= MOST_KINDS + 1
    assert len(tally.certificates) <= MOST_KINDS
    assert len(tally.gate) <= MOST_EVENTS
    assert len(tally.events) == MOST_EVENTS
    assert tally.events_left_out["clock.step"] == 700


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "token", "gen_time": 7},
        {"type": "token"},
        {"type": "event", "kind": "clock.state", "time": "2026-06-01T12:00:00.000000Z", "details": [1]},
        {"type": "event", "kind": ["x"], "time": "2026-13-01T12:00:00.000000Z", "details": {"pid": {}}},
        {"type": "event", "kind": "service.readiness", "time": "2026-06-01T12:00:00Z", "details": {"ready": None}},
        {"type": "refusal", "time": "yesterday", "reason": {}},
        {"type": "token", "gen_time": "2026-06-01T99:99:00.000000Z", "profile": None},
    ],
)
def test_odd_lines_break_nothing(fields: dict[str, Any]) -> None:
    tally = Tally(begin=BEGIN, end=END)
    tally.line(SEGMENT, fields)
    tally.finish()
    assert tally.lines == 1


def test_minutes_hold_times_in_any_order() -> None:
    minutes = Minutes(BEGIN, END)
    for minute in (90, 0, 10):
        minutes.mark(utc_text(BEGIN + timedelta(minutes=minute)))
    minutes.mark(utc_text(END + timedelta(days=1)))
    found = list(minutes.silences(timedelta(minutes=9)))
    at = [BEGIN + timedelta(minutes=minute) for minute in (1, 10, 11, 90)]
    assert found == [(at[0], at[1]), (at[2], at[3])]


def test_merged_outages_last_until_the_last_end() -> None:
    def outage(begin: int, end: int | None) -> Outage:
        return Outage(begin=BEGIN + timedelta(hours=begin), end=None if end is None else BEGIN + timedelta(hours=end))

    found = merged([outage(5, 6), outage(0, 4), outage(1, 2), outage(7, None), outage(8, 9)], END)
    hours = [((each.begin - BEGIN).seconds // 3600, each.end and (each.end - BEGIN).seconds // 3600) for each in found]
    assert hours == [(0, 4), (5, 6), (7, None)]


def test_only_lines_that_fit_are_seen() -> None:
    sealed, link = seal('"type":"open"', BEGINNING, begin_hash(None))
    other, _ = seal('"type":"close"', BEGINNING, begin_hash(None))
    assert link.seq == 1
    seen: list[str] = []

    class Trail:
        key = None

        def segments(self) -> list[Segment]:
            return [Segment(name="s", lines=lambda: [sealed.encode(), other.encode()])]

        def faults(self) -> Iterator[str]:
            return iter(())

    report = check_trail(Trail(), seen=lambda _, fields: seen.append(fields["type"]))  # type: ignore[arg-type] # a part
    assert not report.intact
    assert seen == ["open"]
