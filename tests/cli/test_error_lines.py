"""An error is a line of its own, behind the log's lines that came before it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from tsa_core.cli import console
from tsa_core.logs import set_up_logging


def test_it_is_whole_and_after_the_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / "stderr"
    with written.open("w", encoding="utf-8", buffering=1) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        set_up_logging()
        for number in range(20):
            logging.getLogger("tsa_core.cli").warning("warning %d", number)
            with pytest.raises(SystemExit) as ended:
                console.fail("timestamp-server", f"first {number}\nsecond {number}", 2)
            assert ended.value.code == 2
    lines = written.read_text().splitlines()
    assert [line.split("]", 1)[-1].split(" [")[0].strip() for line in lines] == [
        line
        for number in range(20)
        for line in (
            f"warning {number}",
            f"timestamp-server: error: first {number}",
            f"timestamp-server: error: second {number}",
        )
    ]
