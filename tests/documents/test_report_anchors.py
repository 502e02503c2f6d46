"""timestamp-server audit report on trails that other authorities have stamped, in a file and in a database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.timestamp_shell import CHAIN, honest
from tsa_core.api import AuditEvent
from tsa_core.cli.audit.group import audit
from tsa_core.config import load_settings
from tsa_core.host import AUDIT_SINK, PluginHost
from tsa_core.testing.http_tsa import HttpTsa

CONFIG = """\
[audit]
sinks = ["{sink}"]
anchor_urls = ["{url}"]
anchor_roots = "roots.pem"
[audit.{sink}]
path = "trail"
"""


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.plugin(name)) for name in ("auditfile", "auditsql")], autouse=True
)
def anchored(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A trail with an anchor."""
    monkeypatch.delenv("TSA_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("roots.pem").write_bytes(CHAIN.pem)
    with HttpTsa(lambda query: honest(query, datetime.now(UTC))) as tsa:
        Path("tsa.toml").write_text(CONFIG.format(sink=request.param, url=tsa.url))
        write("clock.state")
        assert run("anchor").exit_code == 0
        yield


def write(kind: str) -> None:
    settings = load_settings(Path("tsa.toml"), whole=False)
    [name] = settings.audit.sinks
    host = PluginHost.for_settings(settings)
    try:
        sink = host.open(AUDIT_SINK, name, settings.audit.plugin_table(name))
        sink.event(AuditEvent(kind=kind, time=datetime.now(UTC), details={"pid": "7"}))
    finally:
        host.close()


def run(*arguments: str) -> Result:
    command, *flags = arguments
    return CliRunner().invoke(audit, [command, "--config", "tsa.toml", *flags])


def report() -> Result:
    return run("report", "--from", f"{datetime.now(UTC):%Y-01-01}")


def test_the_verdict_speaks_of_what_was_stamped() -> None:
    result = report()
    assert result.exit_code == 0, result.output
    assert "OK: Every line of the trail fits the one before it. Those before the last anchor are as" in result.stdout
    assert "All timestamps that other authorities gave the trail are good. The last one, anchor 1," in result.stdout
    assert "Lines that were cut off behind the last anchor." in result.stdout
    assert "A trail that was computed anew as a whole" not in result.stdout


def test_a_trail_that_was_computed_anew_does_not_agree_with_its_anchor() -> None:
    for path in [each for each in Path().glob("trail*") if "anchor" not in each.name]:
        path.rename(f"kept-{path.name}")
    if anchors := [each for each in Path().glob("trail*") if each.suffix == ".anchors"]:
        assert len(anchors) == 1
    else:
        copy_anchors()
    write("clock.state")
    result = report()
    assert result.exit_code == 1
    assert "The trail is NOT what was written, or its anchors do not agree with it." in result.stdout
    assert "The anchors do not agree with the trail, or are not good:" in result.stdout


def copy_anchors() -> None:
    """Put the anchors of the database that was renamed into a new one."""
    import sqlite3
    from contextlib import closing

    write("clock.state")
    with closing(sqlite3.connect("trail")) as database, database:
        database.execute("ATTACH 'kept-trail' AS kept")
        database.execute("INSERT INTO main.audit_anchor SELECT * FROM kept.audit_anchor")
