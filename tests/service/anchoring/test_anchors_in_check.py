"""`timestamp-server check` reads the last anchor, says which it is, and makes none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.service.anchored_trail import OtherTsa, anchored
from tsa_core.cli.server_group import server

pytestmark = [pytest.mark.plugin("auditfile"), pytest.mark.plugin("memory")]


def checked(config: Path) -> tuple[bool, str]:
    result = CliRunner().invoke(server, ["check", "--config", str(config), "--json"])
    [found] = [each for each in json.loads(result.stdout)["checks"] if each["name"] == "anchor:auditfile"]
    return found["healthy"], found["reason"]


def with_limit(config: Path, limit: str) -> None:
    text = (
        config.read_text()
        .partition("[profiles")[0]
        .replace("anchor_threshold", f'anchor_max_age = "{limit}"\nanchor_threshold')
    )
    config.write_text(f'{text}[profiles.default]\nsigner = "memory:"\n')


def test_a_check_reads_the_last_anchor_and_makes_none(config: Path, others: list[OtherTsa]) -> None:
    with_limit(config, "1h")
    assert checked(config) == (True, "no anchor is known yet")
    assert [other.http.received for other in others] == [[], [], []]
    anchored(config)
    asked = [len(other.http.received) for other in others]
    healthy, reason = checked(config)
    assert healthy
    assert reason.startswith("the last anchor is of 20")
    assert [len(other.http.received) for other in others] == asked


def test_a_check_says_that_the_last_anchor_is_damaged(config: Path) -> None:
    with_limit(config, "1h")
    anchored(config)
    (config.parent / "trail" / "audit.jsonl.anchors" / "00000001.json").write_text("{}")
    healthy, reason = checked(config)
    assert not healthy
    assert reason.startswith("the last anchor cannot be read: ")
