"""What a real server writes to stderr: one format, one line for each request, none lost at the end."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.serving import Server
from tsa_backends.server_process import free_port
from tsa_core.testing.server import ServerProcess

pytestmark = pytest.mark.plugin("memory")

GOOD = PlainRequest().encode()
REQUESTS = 150


class Run:
    """A server that has stopped, and what it wrote."""

    def __init__(self, directory: Path, *flags: str, environ: Mapping[str, str] | None = None) -> None:
        config = directory / "tsa.toml"
        config.write_text('[profiles.default]\nsigner = "memory:"\n')
        if "granian" in flags:
            flags = (*flags, "--port", str(free_port()))
        with ServerProcess(config, "--metrics=false", *flags, environ=environ) as process:
            server = Server(url=f"http://127.0.0.1:{process.port}")
            self.ids = []
            for number in range(REQUESTS):
                reply = server.request(
                    "POST",
                    "/api/v1/timestamp",
                    GOOD,
                    {"Content-Type": "application/timestamp-query", "X-Request-Id": f"mine-{number}"},
                )
                assert reply.status == 200
                self.ids.append(reply.headers["x-request-id"])
            server.request("GET", "/no%0A%7B%22forged%22%3A1%7D%0A/%1b[31m")
        self.log = process.log


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((), id="waitress"),
        pytest.param(("--workers", "2"), id="waitress-2"),
        pytest.param(("--server", "granian"), id="granian"),
    ],
)
def test_every_request_is_a_json_line_and_none_is_lost_at_the_end(flags: tuple[str, ...], tmp_path: Path) -> None:
    run = Run(tmp_path, "--log-type", "prod", *flags)
    assert run.ids == [f"mine-{number}" for number in range(REQUESTS)]
    lines = [json.loads(line) for line in run.log.splitlines()]
    assert all(list(line)[:4] == ["timestamp", "level", "logger", "event"] for line in lines)
    requests = [line for line in lines if line["logger"] == "tsa_core.access"]
    assert sorted(line["request_id"] for line in requests if line["outcome"] == "granted") == sorted(run.ids)
    assert len({line["serial"] for line in requests if line["outcome"] == "granted"}) == REQUESTS
    (junk,) = [line for line in requests if line["status"] == 404]
    assert junk["path"] == '/no\n{"forged":1}\n/\x1b[31m'
    events = [line["event"] for line in lines if line["logger"] != "tsa_core.access"]
    assert any(event.startswith("listening on ") for event in events)
    assert any(event.startswith("stopped: ") for event in events)


def test_what_is_said_before_the_server_serves_has_the_same_format(tmp_path: Path) -> None:
    run = Run(tmp_path, "--log-type", "prod")
    (warning,) = [line for line in map(json.loads, run.log.splitlines()) if line["level"] == "warning"][:1]
    assert "a key and a test chain that were made at this start" in warning["event"], run.log


def test_lines_for_people_are_plain_where_there_is_no_terminal(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert "\x1b" not in run.log
    granted = re.findall(r"^[\d:.]+ \[info     \] POST /api/v1/timestamp 200 .* id=(\S+)$", run.log, re.MULTILINE)
    assert granted == run.ids
    assert len(re.findall(r"^.* 404 .*$", run.log, re.MULTILINE)) == 1
    assert not re.search(r"^\{", run.log, re.MULTILINE)


@pytest.mark.parametrize("flags", [("--access-log=false",), ()])
def test_requests_are_not_logged_when_nobody_wants_it(flags: tuple[str, ...], tmp_path: Path) -> None:
    run = Run(tmp_path, *flags, environ=None if flags else {"TSA_LOG__LEVEL": "warning"})
    assert "mine-" not in run.log
    assert "/api/v1/timestamp 200" not in run.log
