"""An error is a line of its own, behind the log's lines that came before it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from tsa_backends.commands import run_command
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


ADDRESS = "redis://tsa:hunter2/hunter2@host:6379/0"


@pytest.mark.parametrize(
    "command",
    [
        ("serve", "--config", ADDRESS),
        ("serve", "--graceful-timeout", ADDRESS),
        ("serve", "--log-type", ADDRESS),
        ("serve", ADDRESS),
        (ADDRESS,),
        ("plugins", "show", ADDRESS),
        ("plugins", "new", ADDRESS),
        ("audit", "verify", ADDRESS),
    ],
    ids=lambda words: " ".join(words[:-1]),
)
def test_it_quotes_no_password_of_an_address_in_the_wrong_place(command: tuple[str, ...]) -> None:
    refused = run_command(*command)
    assert refused.returncode == 2
    assert "(hidden)@host" in refused.stderr
    assert "hunter2" not in refused.stderr + refused.stdout


@pytest.mark.parametrize("flags", [("--config", ADDRESS), ("--timeout", ADDRESS), (ADDRESS,)], ids=" ".join)
def test_the_client_quotes_none(flags: tuple[str, ...]) -> None:
    refused = run_command(*flags, "timestamp", program="timestamp-cli")
    assert refused.returncode == 2
    assert "(hidden)@host" in refused.stderr
    assert "hunter2" not in refused.stderr
