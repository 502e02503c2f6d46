"""What is no regular file in place of the audit file, or beside it: told at once, and never waited for."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from tsa_audit_file import plugin
from tsa_audit_file.options import AuditFileOptions
from tsa_core.api import ConfigError
from tsa_core.api.trail import check_trail
from tsa_core.testing import sample_record

from .trail import opened


@pytest.mark.parametrize("name", ["fifo", "folder"])
def test_in_place_of_the_file_it_is_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    [provider] = plugin.tsa_audit_sinks()
    options = AuditFileOptions(path=tmp_path / name)
    for open_it in (provider.open, provider.open_for_check):
        assert open_it is not None
        with pytest.raises(ConfigError, match=r"^audit.auditfile.path: (it is no regular file|Is a directory); name a"):
            open_it(options)


def test_beside_the_trail_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with opened(path, max_size=3000, daily=False) as sink:
        for number in range(1, 21):
            sink.write(sample_record(number))
    [provider] = plugin.tsa_audit_sinks()
    assert provider.open_trail is not None
    stray = min(tmp_path.glob("audit-*.jsonl"))
    stray.unlink()
    os.mkfifo(stray)
    with (
        closing(provider.open_trail(AuditFileOptions(path=path))) as kept,
        pytest.raises(ConfigError, match=r"audit-.*: it cannot be read: it is no regular file"),
    ):
        check_trail(kept)
