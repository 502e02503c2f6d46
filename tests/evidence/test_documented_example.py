"""The program of the page about evidence does what the page says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import CHAIN, honest
from tests.documentation.shell_blocks import ROOT, blocks
from tsa_core.testing.http_tsa import HttpTsa


def test_the_program_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = (block for block in blocks(ROOT / "docs/verify/evidence.md") if block.language == "python")
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "letter.txt", "annex.txt"):
        Path(name).write_text(name)
    Path("chain.pem").write_bytes(CHAIN.pem)
    with HttpTsa(lambda request: honest(request, datetime.now(UTC).replace(microsecond=0))) as tsa:
        text = program.text.replace("https://timestamp.example.org", tsa.url)
        assert tsa.url in text
        exec(compile(text, program.place, "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("['initial', 'timestamp renewal', 'hash tree renewal']" in line for line in lines)
