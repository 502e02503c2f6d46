"""The trail's head goes out: to the log, to the state directory and to the gauge; `verify` finds it there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from click.testing import CliRunner

from tsa_core.cli.audit.group import audit
from tsa_core.service.audit_heads import AuditHeads
from tsa_core.testing import sample_record, wait_until

from .trail import opened, records


def test_the_head_is_told_and_verify_takes_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, state = tmp_path / "audit.jsonl", tmp_path / "state"
    with opened(path) as sink, caplog.at_level(logging.INFO):
        heads = AuditHeads([("auditfile", sink)], state)
        for number in range(1, 4):
            sink.write(sample_record(number))
            heads.tell()
        heads.tell()
        last = records(path)[-1]
        head = f"{last['seq']}:{last['hash']}"
    told = [record.getMessage() for record in caplog.records if "head" in record.getMessage()]
    assert len(told) == 3
    assert told[-1] == f"audit trail auditfile: head {head}"
    assert heads.numbers == {"auditfile": last["seq"]}
    assert [file.name for file in state.iterdir()] == ["auditfile.head"]
    anchor = ["verify", "--anchor", str(state / "auditfile.head"), str(path)]
    assert CliRunner().invoke(audit, anchor).exit_code == 0
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))
    assert CliRunner().invoke(audit, anchor).exit_code == 1


def test_a_thread_tells_it_and_is_started_again(tmp_path: Path) -> None:
    with opened(tmp_path / "audit.jsonl") as sink:
        heads = AuditHeads([("auditfile", sink)], tmp_path, period=0.01)
        heads.keep_running()
        wait_until(lambda: heads.numbers.get("auditfile") == 2, seconds=30, what="the head is told")
        sink.write(sample_record(1))
        wait_until(lambda: heads.numbers.get("auditfile") == 3, seconds=30, what="the next head is told")
        heads.close()


def test_a_thread_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: object) -> None:
        raise RuntimeError("can't start new thread")

    with opened(tmp_path / "audit.jsonl") as sink:
        heads = AuditHeads([("auditfile", sink)], None, period=0.01)
        with monkeypatch.context() as patch:
            patch.setattr("threading.Thread.start", full)
            heads.keep_running()
        assert "cannot be started" in caplog.text
        heads.keep_running()
        wait_until(lambda: "auditfile" in heads.numbers, seconds=30, what="the head is told")
        heads.close()


def test_a_trail_with_a_fault_has_no_head(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with opened(path) as sink:
        sink.write(sample_record(1))
        assert sink.health().healthy
        path.unlink()
        assert not sink.health().healthy
        assert sink.head() is None
