"""Opens sinks and reads what they wrote, for the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tsa_audit_file import plugin
from tsa_audit_file.options import AuditFileOptions
from tsa_audit_file.sink import FileAuditSink
from tsa_audit_file.trail import distinct, trail_of_files
from tsa_core.api.trail import Link, SegmentReport, check_trail


def open_sink(path: Path, **options: Any) -> FileAuditSink:
    [provider] = plugin.tsa_audit_sinks()
    sink = provider.open(AuditFileOptions(path=path, **options))
    assert isinstance(sink, FileAuditSink)
    return sink


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[FileAuditSink]:
    sink = open_sink(path, **options)
    try:
        yield sink
    finally:
        sink.close()


def trail(path: Path) -> list[Path]:
    """All files of the chain that ends in `path`, in order, each once."""
    return distinct([*sorted(path.parent.glob(f"{path.stem}-*{path.suffix}")), path])


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in trail(path) for line in file.read_text().splitlines()]


def serials(path: Path) -> list[int]:
    return [int(record["serial"], 16) for record in records(path) if record["type"] == "token"]


def intact(path: Path, **arguments: Any) -> None:
    """Fail unless the whole chain is as it was written."""
    reports = reports_of(trail(path), **arguments)
    assert [report.damage for report in reports] == [""] * len(reports)
    assert reports[0].first == Link()


def reports_of(files: list[Path], *, key: bytes | None = None) -> list[SegmentReport]:
    """What the check of some files finds, in the order in which they were written."""
    with closing(trail_of_files(files, key)) as trail:
        return check_trail(trail).segments
