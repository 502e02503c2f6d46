"""Real servers whose log is in a bucket: killed in the middle, and read by clients from the bucket alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w

from tsa_core.api.transparency import entry_of
from tsa_core.testing import ServerProcess, encode_request, wait_until

from .buckets import Place, writes_of
from .logs import LOG_KEY, settings

pytestmark = pytest.mark.plugin("memory")


def authority_config(folder: Path, place: Place, **log: object) -> Path:
    path = folder / "tsa.toml"
    table = {**settings(folder / "log", **log), **place.settings}
    document = {
        "profiles": {"default": {"signer": "memory:"}},
        "audit": {"sinks": ["tokenlog"], "tokenlog": table},
    }
    path.write_text(tomli_w.dumps(document))
    return path


def test_a_server_that_is_killed_between_two_objects_loses_no_token(s3: Place, tmp_path: Path) -> None:
    config = authority_config(tmp_path, s3)
    with ServerProcess(config) as server:
        entries = [entry_of(server.stamp(encode_request()).body).encode() for _ in range(3)]
        wait_until(lambda: set(s3.entries()) == set(entries), seconds=60, what="they are published")
        held = s3.relay.hold(matches=writes_of("tile/0/"))
        entries += [entry_of(server.stamp(encode_request()).body).encode() for _ in range(3)]
        assert held.wait(60)
        server.kill()
    s3.relay.mend()
    assert set(s3.entries()) == set(entries[:3])
    with ServerProcess(config) as server:
        entries.append(entry_of(server.stamp(encode_request()).body).encode())
        wait_until(lambda: set(s3.entries()) == set(entries), seconds=60, what="all of them are published")
    assert len(s3.entries()) == len(entries)


def test_clients_prove_and_follow_a_log_that_a_bucket_serves(s3: Place, tmp_path: Path) -> None:
    timestamp = tmp_path / "tokens" / "one.tsr"
    timestamp.parent.mkdir()
    with ServerProcess(authority_config(tmp_path, s3), "--workers", "2") as server:
        timestamp.write_bytes(server.stamp(encode_request()).body)
        wait_until(lambda: len(s3.entries()) == 1, seconds=60, what="it is published")
    log = ("--log-url", s3.public, "--log-key", str(LOG_KEY.key))

    def run(*arguments: str | Path) -> str:
        command = [sys.executable, "-m", "tsa_core.cli.timestamp", "log", *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    assert "the proof is in" in run("prove", "--timestamp", timestamp, *log)
    assert "entry 0" in run("audit", timestamp.parent, *log)
    assert "1 entr" in run("monitor", s3.public, "--log-key", str(LOG_KEY.key))
