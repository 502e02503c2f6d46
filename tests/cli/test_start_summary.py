"""What the operator sees when a server starts: a table on a terminal, one line of JSON for programs."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from tsa_core.cli.serve import _announcement, _log_announcement
from tsa_core.cli.start_summary import print_summary
from tsa_core.logs.formatting import LineFormatter

SOON = datetime.now(UTC) + timedelta(days=20, hours=1)
FACTS: dict[str, Any] = {
    "warnings": ["The clock is unmonitored: [clock]"],
    "files": ["/etc/tsa/tsa.key"],
    "selected": {
        "signers": ["file"],
        "clock": ["system"],
        "clock_monitors": ["ntp"],
        "policy_selectors": ["oid"],
        "audit_sinks": ["auditfile"],
        "observers": [],
    },
    "clock": {"state": "synchronised", "issuing": True, "reason": ""},
    "profiles": [
        {
            "name": "default",
            "algorithm": "ecdsa-sha256",
            "policy": "1.2.3",
            "signer": "file",
            "subject": "CN=[TSA]",
            "certificates_end": "2099-11-27T00:00:00+00:00",
            "key_usage_end": SOON.isoformat(),
        }
    ],
    "addresses": ["http://127.0.0.1:3000", "unix:/run/tsa.sock"],
    "profiling": [],
    "metrics": "http://127.0.0.1:2112/metrics",
}


def shown(facts: dict[str, Any], *, width: int = 110) -> str:
    out = io.StringIO()
    print_summary(facts, Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False))
    return out.getvalue()


def test_a_terminal_shows_all_that_matters() -> None:
    text = shown(FACTS)
    for part in (
        "The clock is unmonitored: [clock]",
        "http://127.0.0.1:3000  POST http://127.0.0.1:3000/api/v1/timestamp",
        "unix:/run/tsa.sock",
        "http://127.0.0.1:2112/metrics",
        "default  CN=[TSA]",
        "file, ecdsa-sha256, policy 1.2.3",
        "chain ends    2099-11-27",
        f"key signs to  {SOON:%Y-%m-%d}  in 20 days",
        "synchronised  system, ntp",
        "auditfile",
        "policy selectors: oid",
        "Ctrl-C stops",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("state", "issuing", "monitors", "colour"),
    [
        ("synchronised", True, ["ntp"], "\x1b[32m"),
        ("unmonitored", True, [], "\x1b[33m"),
        ("lost", False, [], "\x1b[1;31m"),
    ],
)
def test_the_colour_says_whether_somebody_watches_the_clock(
    state: str, issuing: bool, monitors: list[str], colour: str
) -> None:
    selected = {**FACTS["selected"], "clock_monitors": monitors}
    facts = {**FACTS, "selected": selected, "clock": {"state": state, "issuing": issuing, "reason": ""}}
    out = io.StringIO()
    print_summary(facts, Console(file=out, width=110, force_terminal=True, color_system="standard", highlight=False))
    assert f"{colour}{state}\x1b[0m" in out.getvalue()


def test_a_narrow_terminal_cuts_nothing_off() -> None:
    text = shown(FACTS, width=40)
    assert all(len(line) <= 40 for line in text.splitlines())
    assert "auditfile" in text


def test_programs_get_one_line_of_json(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    _log_announcement(FACTS)
    lines = [json.loads(LineFormatter("prod", colours=False).format(record)) for record in caplog.records]
    assert [line["level"] for line in lines] == ["warning", "info"]
    assert lines[1]["event"] == (
        "listening on http://127.0.0.1:3000 (POST http://127.0.0.1:3000/api/v1/timestamp); "
        "listening on unix:/run/tsa.sock"
    )
    assert lines[1]["serving"] == {name: FACTS[name] for name in FACTS if name not in {"warnings", "files"}}


def test_readable_lines_tell_the_ends_apart() -> None:
    [line] = [line for line in _announcement(FACTS) if line.startswith("profile ")]
    assert line.endswith(f"certificate until 2099-11-27, its key until {SOON:%Y-%m-%d}")
