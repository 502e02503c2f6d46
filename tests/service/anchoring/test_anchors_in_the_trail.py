"""Anchors: other authorities stamp the trail's end, and who rewrites the trail is found by that."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.service.anchored_trail import OtherTsa, anchored, folder, lines, put, rewritten, run, write
from tsa_core.api import ConfigError, UnavailableError
from tsa_core.testing import Pki, require_program

pytestmark = pytest.mark.plugin("auditfile")


def test_anchors_of_a_trail_that_is_as_it_was_are_good(config: Path) -> None:
    anchored(config)
    write(config, range(6, 8))
    anchored(config)
    result = run("verify", "--config", config)
    assert result.exit_code == 0, result.output
    assert "anchors: 2 of 2 good; the last good one, 2, is of http://127.0.0.1:" in result.stdout
    document = json.loads(run("verify", "--json", "--config", config).stdout)
    assert document["anchors"]["verified"] is True
    assert all(2 <= len(each["stamped"]) <= 3 for each in document["anchors"]["list"])
    events = [json.loads(line) for line in lines(config) if b'"audit.anchored"' in line]
    assert [event["details"]["number"] for event in events] == ["1", "2"]


def test_without_roots_the_verdict_says_that_no_timestamp_was_verified(config: Path) -> None:
    anchored(config)
    file = config.parent / "trail" / "audit.jsonl"
    result = run("verify", file)
    assert result.exit_code == 0
    assert "NOT VERIFIED" in result.stdout
    assert run("verify", "--anchor-roots", config.parent / "roots.pem", file).stdout.count("1 of 1 good") == 1
    (config.parent / "other.pem").write_bytes(Pki().root.public_bytes(Encoding.PEM))
    wrong = run("verify", "--anchor-roots", config.parent / "other.pem", file)
    assert wrong.exit_code == 1
    assert "is not good" in wrong.stdout


def test_a_trail_with_all_hashes_computed_anew_is_found(config: Path) -> None:
    anchored(config)
    write(config, range(6, 8))

    def change(number: int, fields: dict[str, Any]) -> None:
        if fields.get("serial") == f"{3:040x}":
            fields["client"] = "192.0.2.66"

    put(config, rewritten(lines(config), change))
    result = run("verify", "--config", config)
    assert result.exit_code == 1
    first = result.stdout.splitlines()[0]
    assert ": intact: " in first, "by itself the chain fits"
    assert "ANCHORS: anchor 1 (http://127.0.0.1:" in result.stdout
    assert "lines were cut off or rewritten after it was stamped" in result.stdout


def test_a_token_that_a_leaked_key_made_is_told_from_genuine_ones(config: Path) -> None:
    """Whoever has key and machine can make an old token and write it into the trail, but not into an anchor."""
    anchored(config)
    assert run("find", "--serial", "3", "--config", config).exit_code == 0
    forged = run("find", "--serial", "63", "--config", config)
    assert forged.exit_code == 1
    assert "no such token" in forged.stderr
    whole = lines(config)
    [place] = [number for number, line in enumerate(whole) if f"{3:040x}".encode() in line]
    old = whole[place].replace(f"{3:040x}".encode(), f"{0x63:040x}".encode())
    put(config, rewritten([*whole[:place], old, *whole[place:]], lambda number, fields: None))
    assert run("find", "--serial", "63", "--config", config).exit_code == 0
    result = run("verify", "--config", config)
    assert result.exit_code == 1
    assert "ANCHORS: anchor 1 (http://127.0.0.1:" in result.stdout
    put(config, whole)
    assert run("verify", "--config", config).exit_code == 0


def test_a_tail_that_was_cut_off_is_found(config: Path) -> None:
    anchored(config)
    put(config, lines(config)[:4])
    result = run("verify", "--config", config)
    assert result.exit_code == 1
    assert "ANCHORS: anchor 1 (http://127.0.0.1:" in result.stdout


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_an_anchor_that_was_removed_is_named(config: Path, gone: int) -> None:
    for _ in range(3):
        anchored(config)
    (folder(config) / f"{gone:08d}.json").unlink()
    result = run("verify", "--config", config)
    assert result.exit_code == 1
    assert f"anchor {gone}, which the trail says was stored at" in result.stdout


def test_the_end_of_trail_and_anchors_that_went_together_is_missed_elsewhere(config: Path) -> None:
    """What one machine alone cannot tell: a copy of the anchors tells it."""
    anchored(config)
    whole = lines(config)
    write(config, range(6, 8))
    anchored(config)
    run("export", "--config", config, "--output", config.parent / "copy")
    put(config, whole)
    (folder(config) / "00000002.json").unlink()
    assert run("verify", "--config", config).exit_code == 0
    copy = json.loads((config.parent / "copy" / "anchors" / "00000002.json").read_bytes())
    head = copy["document"].splitlines()[3].split()[2]
    assert run("verify", "--anchor", head, "--config", config).exit_code == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda one, two: {**one, "tokens": two["tokens"]}, "is not good"),
        (lambda one, two: {**one, "tokens": {}}, "0 of the 2 timestamps"),
        (lambda one, two: {**one, "document": one["document"].replace("chain - ", "chain - 1")}, "is not good"),
        (lambda one, two: {**one, "document": one["document"] + "more\n"}, "is not one of tsa-core"),
        (lambda one, two: {**one, "number": 7}, "it has the number 7"),
        (lambda one, two: {"number": 1}, "it is no anchor"),
        (lambda one, two: [], "it is no anchor"),
    ],
    ids=["another's tokens", "no token", "another head", "another document", "another number", "no document", "a list"],
)
def test_an_anchor_that_was_changed_is_named(
    config: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any], complaint: str
) -> None:
    anchored(config)
    anchored(config)
    path, other = (folder(config) / f"{number:08d}.json" for number in (1, 2))
    path.write_text(json.dumps(change(json.loads(path.read_bytes()), json.loads(other.read_bytes()))))
    result = run("verify", "--config", config)
    assert result.exit_code == 1
    assert complaint in result.stdout


def test_one_authority_is_one_whatever_its_addresses_are(config: Path, others: list[OtherTsa]) -> None:
    """Whoever has the key of one authority alone makes no anchor that needs two."""
    anchored(config)
    path = folder(config) / "00000001.json"
    document = json.loads(path.read_bytes())
    first, *rest = document["tokens"]
    assert rest
    document["tokens"] = dict.fromkeys((first, *rest), document["tokens"][first])
    path.write_text(json.dumps(document))
    result = run("verify", "--config", config)
    assert result.exit_code == 1
    assert "timestamps are good, of 1 of the 2 authorities that it needs" in result.stdout
    path.unlink()
    for other in others:
        other.http.answer = others[0].stamp
    result = run("anchor", "--config", config)
    assert isinstance(result.exception, UnavailableError)
    assert "of 1 of the 2 authorities that it needs" in str(result.exception)
    assert not path.exists()


def test_an_export_is_verified_without_the_sink(config: Path) -> None:
    anchored(config)
    export = config.parent / "evidence"
    assert run("export", "--config", config, "--output", export).exit_code == 0
    assert run("export", "--config", config, "--output", export).exit_code != 0, "it is never written into"
    roots = config.parent / "roots.pem"
    result = run("verify", "--anchor-roots", roots, export)
    assert result.exit_code == 0, result.output
    assert "anchors: 1 of 1 good" in result.stdout
    assert len(run("find", "--serial", "3", export).stdout.splitlines()) == 1
    data = (export / "lines-000001.jsonl").read_bytes()
    (export / "lines-000001.jsonl").write_bytes(data.replace(b"127.0.0.1", b"127.0.0.2", 1))
    assert run("verify", "--anchor-roots", roots, export).exit_code == 1
    assert (export / "anchors" / "00000001.txt").read_bytes().startswith(b"tsa-core audit heads 1\nnumber 1\n")
    (export / "trail.json").write_text("{}")
    assert isinstance(run("verify", export).exception, ConfigError)


def test_pruned_lines_leave_good_anchors(config: Path) -> None:
    config.write_text(config.read_text() + "max_size = 600\ndaily = false\n")
    anchored(config)
    write(config, range(6, 9))
    anchored(config)
    assert "removed" in run("prune", "--before", datetime.now(UTC).isoformat(), "--config", config).stdout
    result = run("verify", "--config", config)
    assert result.exit_code == 0, result.output
    assert "are of lines that were pruned" in result.stdout


def test_an_anchor_is_checked_with_openssl_too(config: Path, tmp_path: Path, pki: Pki) -> None:
    anchored(config)
    run("export", "--config", config, "--output", tmp_path / "evidence")
    openssl = str(require_program("openssl"))
    chain = b"".join(each.public_bytes(Encoding.PEM) for each in pki.intermediates)
    (tmp_path / "intermediates.pem").write_bytes(chain)
    anchors = tmp_path / "evidence" / "anchors"
    command = [openssl, "ts", "-verify", "-data", str(anchors / "00000001.txt"), "-in"]
    command += [str(anchors / "00000001-1.tsr"), "-CAfile", str(tmp_path / "roots.pem")]
    command += ["-untrusted", str(tmp_path / "intermediates.pem")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "Verification: OK" in result.stdout, result.stderr
