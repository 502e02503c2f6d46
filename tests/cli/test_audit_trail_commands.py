"""`timestamp-server audit` on the trail of a configured sink, and on files."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tsa_core.api import AuditSink, ConfigError, Identity
from tsa_core.cli.audit.group import audit
from tsa_core.config import load_settings
from tsa_core.host import AUDIT_SINK, PluginHost
from tsa_core.testing import sample_record, sample_refusal

pytestmark = pytest.mark.plugin("auditfile")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(argument) for argument in arguments])


def opened(config: Path) -> AuditSink:
    settings = load_settings(config, whole=False)
    host = PluginHost.for_settings(settings)
    sink: AuditSink = host.open(AUDIT_SINK, "auditfile", settings.audit.plugin_table("auditfile"))
    return sink


def write(config: Path, numbers: range, **changes: Any) -> None:
    sink = opened(config)
    for number in numbers:
        record = sample_record(number)
        record.identity = Identity(name="press", tenant="acme" if number % 2 else "umbrella")
        for name, value in changes.items():
            setattr(record, name, value)
        sink.write(record)
    sink.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with a trail of ten tokens in several files, one refusal and a key."""
    path = tmp_path / "tsa.toml"
    path.write_text(
        '[audit]\nsinks = ["auditfile"]\n[audit.auditfile]\npath = "trail/audit.jsonl"\ndigests = true\n'
        'refusals = true\nmax_size = 1500\ndaily = false\nkey = { file = "key" }\n'
    )
    (tmp_path / "key").write_text("a key of some length")
    write(path, range(1, 11))
    sink = opened(path)
    sink.write_refusals([sample_refusal(77)])
    sink.close()
    return path


def files(config: Path) -> list[Path]:
    folder = config.parent / "trail"
    return [*sorted(folder.glob("audit-*.jsonl")), folder / "audit.jsonl"]


def test_verify_checks_the_trail_of_the_configured_sink(config: Path) -> None:
    result = run("verify", "--config", config)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == len(files(config)) > 2
    document = json.loads(run("verify", "--json", "--config", config).stdout)
    assert document["intact"] is True
    assert sum(each["tokens"] for each in document["files"]) == 10
    assert sum(each["refusals"] for each in document["files"]) == 1
    first = files(config)[0]
    first.write_bytes(first.read_bytes().replace(b"press", b"dress", 1))
    assert run("verify", "--config", config).exit_code == 1


@pytest.mark.parametrize(
    ("what", "count"),
    [
        (["--serial", "0x0b"], 0),
        (["--serial", "03"], 1),
        (["--digest", sample_record(4).digest.hex()], 1),
        (["--digest", sample_refusal(77).digest.hex()], 1),  # type: ignore[union-attr] # this one has a digest
        (["--tenant", "acme"], 5),
        (["--tenant", "acme", "--identity", "press"], 5),
        (["--between", "2026-06-01T12:00:00Z/2026-06-01T12:00:01Z"], 11),
        (["--between", "2026-05-01/2026-06-01"], 0),
    ],
    ids=["no serial", "serial", "digest", "digest of a refusal", "tenant", "name", "between", "not between"],
)
def test_find_prints_tokens_and_refusals(config: Path, what: list[str], count: int) -> None:
    result = run("find", *what, "--config", config)
    assert len(result.stdout.splitlines()) == count
    assert result.exit_code == (0 if count else 1)


def test_find_says_that_digests_are_not_recorded(config: Path) -> None:
    config.write_text(config.read_text().replace("digests = true", "digests = false").replace("trail/", "other/"))
    write(config, range(1, 2))
    result = run("find", "--digest", sample_record(1).digest.hex(), "--config", config)
    assert result.exit_code == 1
    assert "does not record them" in result.stderr


def test_prune_leaves_a_trail_that_can_be_verified(config: Path) -> None:
    before = files(config)
    kept = run("verify", "--config", config).stdout.splitlines()
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert "nothing to remove" in run("prune", "--before", yesterday, "--config", config).stderr
    dry = run("prune", "--before", datetime.now(UTC).isoformat(), "--dry-run", "--config", config)
    assert len(dry.stdout.splitlines()) == len(before) - 1
    assert files(config) == before
    pruned = run("prune", "--before", datetime.now(UTC).isoformat(), "--config", config)
    assert pruned.stdout.splitlines() == [line.replace("would remove", "removed") for line in dry.stdout.splitlines()]
    assert files(config) == before[-1:]
    result = run("verify", "--config", config)
    assert result.exit_code == 0, result.output
    assert "were removed by a prune" in result.stdout
    last_removed = kept[-2].rpartition("; ")[2]
    assert last_removed in result.stdout
    write(config, range(11, 13))
    assert run("verify", "--config", config).exit_code == 0


def test_what_is_kept_elsewhere_must_reach_up_to_what_was_pruned(config: Path) -> None:
    """Whoever has the older lines up to one, and says so, must hear that those behind it are gone."""
    ends = [line.rpartition("; ")[2] for line in run("verify", "--config", config).stdout.splitlines()]
    assert run("prune", "--before", datetime.now(UTC).isoformat(), "--config", config).exit_code == 0
    assert run("verify", "--from", ends[-2], "--config", config).exit_code == 0
    result = run("verify", "--from", ends[0], "--config", config)
    assert result.exit_code == 1
    assert f"nothing continues {ends[0]}" in result.stdout


def test_a_prune_that_was_interrupted_leaves_a_trail_that_can_be_verified(config: Path) -> None:
    whole = {path: path.read_bytes() for path in files(config)}
    assert run("prune", "--before", datetime.now(UTC).isoformat(), "--config", config).exit_code == 0
    first, *others = list(whole)[:-1]
    for path in others:
        path.write_bytes(whole[path])
    assert not first.exists()
    result = run("verify", "--config", config)
    assert result.exit_code == 0
    assert "are still here, which a prune was to remove: it was interrupted" in result.stdout
    others[0].unlink()
    assert run("verify", "--config", config).exit_code == 0
    others[1].unlink(missing_ok=True)
    others[-1].unlink(missing_ok=True)
    (config.parent / "trail" / others[0].name).write_bytes(whole[others[0]])
    assert run("verify", "--config", config).exit_code == 1, "a gap behind the oldest file is no prune"


def test_old_files_that_nobody_pruned_are_missed(config: Path) -> None:
    files(config)[0].unlink()
    result = run("verify", "--config", config)
    assert result.exit_code == 1
    assert "older lines are missing" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify"], "name the files of a trail"),
        (["find", "--config", "CONFIG"], "say what to find"),
        (["find", "--between", "2026-02-01/2026-01-01", "--config", "CONFIG"], "must be before"),
        (["find", "--digest", "abc", "--config", "CONFIG"], "is no digest in hexadecimal"),
        (["find", "--serial", "xyz", "--config", "CONFIG"], "is no serial number"),
        (["verify", "--key-file", "key", "--config", "CONFIG"], "--key-file goes with FILES"),
        (["verify", "--config", "CONFIG", "FILE"], "--config goes without FILES"),
        (["verify", "--sink", "another", "--config", "CONFIG"], "selects no sink 'another'"),
        (["prune", "--before", "2999-01-01", "--config", "CONFIG"], "is a time to come"),
        (["accept", "--reason", "none", "FILE", "FILE"], "name one file"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_mistake_is_told(config: Path, arguments: list[str], message: str) -> None:
    names = {"CONFIG": str(config), "FILE": str(files(config)[-1])}
    result = run(*[names.get(argument, argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert message in result.stderr


def test_a_configuration_without_a_sink_has_no_trail(tmp_path: Path) -> None:
    (tmp_path / "tsa.toml").write_text("[audit]\nsinks = []\n")
    result = run("verify", "--config", tmp_path / "tsa.toml")
    assert isinstance(result.exception, ConfigError)
    assert "selects no audit sink" in str(result.exception)


def test_show_prints_refusals(config: Path) -> None:
    lines = run("show", "--config", config).stdout.splitlines()
    [refusal] = [line for line in lines if "\trefusal\t" in line]
    assert refusal.split("\t")[2:4] == ["badAlg", "default"]
    assert not any("\trefusal\t" in line for line in run("show", "--events", "--config", config).stdout.splitlines())


@pytest.mark.parametrize(
    "arguments", [["FIFO"], ["--anchor", "FIFO", "FILE"], ["--from", "FIFO", "FILE"]], ids=" ".join
)
def test_a_pipe_that_nobody_writes_to_does_not_hang(config: Path, tmp_path: Path, arguments: list[str]) -> None:
    os.mkfifo(tmp_path / "fifo")
    names = {"FIFO": str(tmp_path / "fifo"), "FILE": str(files(config)[-1])}
    result = run("verify", *[names.get(argument, argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert "a trail cannot be read from a pipe" in result.stderr or "a FIFO that nobody writes to" in result.stderr


def test_an_export_whose_anchors_are_no_folder_is_told(config: Path, tmp_path: Path) -> None:
    assert run("export", "--config", config, "--output", tmp_path / "copy").exit_code == 0
    (tmp_path / "copy" / "anchors").rmdir()
    (tmp_path / "copy" / "anchors").write_text("")
    error = run("verify", "--key-file", tmp_path / "key", tmp_path / "copy").exception
    assert isinstance(error, ConfigError)
    assert "anchors: it cannot be read: Not a directory" in str(error)


def test_a_verdict_says_that_nothing_shows_where_the_trail_ended(config: Path) -> None:
    result = run("verify", "--config", config)
    assert result.exit_code == 0
    assert "not checked: whether lines were cut off at the end; there is no anchor" in result.stderr
    last = result.stdout.splitlines()[-1].rpartition("; ")[2]
    assert "not checked" not in run("verify", "--config", config, "--anchor", last).stderr
