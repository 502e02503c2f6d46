"""A whole server with time servers that go wrong, die and come back: what its clients and operators see."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import core, tsp

from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.testing import require_program, wait_until
from tsa_core.testing.ntp_responder import NtpResponder

pytestmark = pytest.mark.plugin("memory", "ntp")

REQUEST = encode_request(algorithm=SHA256, digest=bytes(32), nonce=1, cert_req=True)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}
WITHIN = 15.0

YAML = """\
request_attempts: 1
request_timeout: "800ms"
max_time_delta: 1
period: "200ms"
servers: [{servers}]
"""
TOML = """\
[server]
port = 0
[profiles.default]
signer = "memory:"
[clock]
max_holdover = "2s"
[clock.ntp]
metrics_port = {metrics_port}
"""


@pytest.fixture
def files(tmp_path: Path, responders: list[NtpResponder]) -> Path:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        metrics_port = probe.getsockname()[1]
    servers = ", ".join(f'"{responder.server}"' for responder in responders)
    (tmp_path / "ntpsync.yaml").write_text(YAML.format(servers=servers))
    (tmp_path / "tsa.toml").write_text(TOML.format(metrics_port=metrics_port))
    (tmp_path / "metrics_port").write_text(str(metrics_port))
    return tmp_path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tsa_core.cli.server", *arguments]


class Server:
    def __init__(self, url: str, metrics_url: str, log: Path) -> None:
        self.url = url
        self.metrics_url = metrics_url
        self.log = log

    def stamp(self) -> bytes:
        headers = {"Content-Type": "application/timestamp-query"}
        request = urllib.request.Request(f"{self.url}/api/v1/timestamp", REQUEST, headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 200
            return bytes(response.read())

    def status_info(self) -> Any:
        """Return the PKIStatusInfo of a new reply; asn1crypto's TimeStampResp cannot hold a rejection."""
        return tsp.PKIStatusInfo.load(core.Sequence.load(self.stamp())[0].dump())

    def status(self) -> tuple[str, str]:
        """Return PKIStatus and the text of a new reply."""
        info = self.status_info()
        text = info["status_string"].native
        return info["status"].native, text[0] if text else ""

    def readiness(self) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=10) as response:
                code, body = response.status, response.read()
        except urllib.error.HTTPError as error:
            code, body = error.code, error.read()
            error.close()
        checks = json.loads(body)["checks"]
        return code, next(check for check in checks if check["name"] == "clock")

    def metric(self, line: str) -> float:
        with urllib.request.urlopen(self.metrics_url, timeout=10) as response:
            text = response.read().decode()
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        assert found, text
        return float(found[1])

    def reach(self, status: str, text: str = "") -> None:
        wait_until(
            lambda: (found := self.status())[0] == status and text in found[1],
            seconds=WITHIN,
            what=f"{status} {text!r} ({self.status()})",
        )


@pytest.fixture
def server(files: Path) -> Iterator[Server]:
    log = files / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            command("serve", "--config", str(files / "tsa.toml"), "--ntp-monitoring", str(files / "ntpsync.yaml")),
            env=ENVIRONMENT,
            stdout=stream,
            stderr=stream,
        )
    try:
        pattern = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")
        wait_until(lambda: bool(pattern.search(log.read_text())), seconds=30, what="the server listens")
        found = pattern.search(log.read_text())
        assert found
        port = (files / "metrics_port").read_text()
        yield Server(found[1], f"http://127.0.0.1:{port}/metrics", log)
    finally:
        process.terminate()
        process.wait(20)


def test_granted_then_time_not_available_then_granted(server: Server, responders: list[NtpResponder]) -> None:
    server.reach("granted")
    assert server.readiness() == (200, {"name": "clock", "healthy": True})
    assert server.metric('timestamp_authority_ntp_state{state="trusted"}') == 1

    responders[0].offset = responders[1].offset = 30.0
    server.reach("rejection", "the time servers disagree")
    assert server.status_info()["fail_info"].native == {"time_not_available"}
    assert server.readiness()[0] == 503
    assert server.readiness()[1]["reason"] == "unsynchronised; the time servers disagree"
    assert server.metric('timestamp_authority_ntp_errors_total{reason="err_disagree"}') >= 1

    responders[0].offset = responders[1].offset = 0.0
    server.reach("granted")
    assert server.readiness()[0] == 200

    for responder in responders[1:]:
        responder.silent = True
    server.reach("rejection", "too few time servers answer")
    assert server.metric('timestamp_authority_ntp_errors_total{reason="err_too_few"}') >= 1
    for responder in responders[1:]:
        responder.silent = False
    server.reach("granted")

    def changes() -> list[tuple[str, str]]:
        found = re.findall(r"clock state=(\w+) previous=(\w+)", server.log.read_text())
        return [(previous, state) for state, previous in found]

    expected = [
        ("unsynchronised", "synchronised"),
        ("synchronised", "unsynchronised"),
        ("unsynchronised", "synchronised"),
        ("synchronised", "holdover"),
        ("holdover", "unsynchronised"),
        ("unsynchronised", "synchronised"),
    ]
    wait_until(lambda: len(changes()) >= len(expected), seconds=WITHIN, what="every change is logged")
    assert changes() == expected
    assert "127.0.0.1" not in server.status()[1]


def test_openssl_shows_why(server: Server, responders: list[NtpResponder], tmp_path: Path) -> None:
    openssl = require_program("openssl")
    for responder in responders:
        responder.offset = -90.0
    server.reach("rejection", "differs from the time servers")
    reply = tmp_path / "reply.tsr"
    reply.write_bytes(server.stamp())
    shown = subprocess.run(
        [str(openssl), "ts", "-reply", "-in", str(reply), "-text"], capture_output=True, text=True, check=True
    ).stdout
    assert "Status: Rejected." in shown
    assert "the clock differs from the time servers by more than is allowed" in shown
    assert "time source is not available" in shown


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)


def test_clock_command_prints_every_answer(files: Path, responders: list[NtpResponder]) -> None:
    responders[1].offset = 30.0
    result = run("clock", "--ntp-monitoring", str(files / "ntpsync.yaml"))
    assert result.returncode == 0, result.stderr
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert ["state", "synchronised"] in rows
    assert ["measured by", "3 of 4 NTP servers, not authenticated"] in rows
    answers = {row[1]: row for row in rows if len(row) == 9}
    assert {answers[responder.server][3] for responder in responders} == {"no"}, "AUTHENTICATED"
    assert [answers[responder.server][4] for responder in responders] == ["yes", "no", "yes", "yes"]
    assert answers[responders[1].server][5].startswith(("-30.0", "-29.9"))


def test_clock_command_as_json_and_its_exit_code(files: Path, responders: list[NtpResponder]) -> None:
    for responder in responders:
        responder.silent = True
    result = run("clock", "--json", "--ntp-monitoring", str(files / "ntpsync.yaml"))
    assert result.returncode == 1
    document = json.loads(result.stdout)
    assert (document["state"], document["issuing"]) == ("unsynchronised", False)
    assert document["monitors"]["ntp"]["reason"] == "too few time servers answer"
    assert [source["outcome"] for source in document["monitors"]["ntp"]["sources"]] == ["no answer"] * 4


def test_clock_command_asks_a_running_server(server: Server, responders: list[NtpResponder]) -> None:
    server.reach("granted")
    assert run("clock", "--url", server.url).returncode == 0
    responders[0].offset = responders[1].offset = 30.0
    server.reach("rejection")
    result = run("clock", "--url", server.url)
    assert result.returncode == 1
    assert "the time servers disagree" in result.stdout


def test_check_waits_for_the_first_round(files: Path, responders: list[NtpResponder]) -> None:
    arguments = ("check", "--json", "--ntp-monitoring", str(files / "ntpsync.yaml"))
    assert run(*arguments).returncode == 0
    responders[0].offset = responders[1].offset = 30.0
    result = run(*arguments)
    assert result.returncode == 1
    assert "the time servers disagree" in result.stdout


def test_check_says_what_measured_the_clock(files: Path) -> None:
    arguments = ("check", "--ntp-monitoring", str(files / "ntpsync.yaml"))
    rows = [line.split("\t") for line in run(*arguments).stdout.splitlines()]
    # On a busy machine, one answer may come too late.
    basis = re.compile(r"[34] of [34] NTP servers, not authenticated")
    [measured_by] = [row[2] for row in rows if row[:2] == ["clock measured by", ""]]
    assert basis.fullmatch(measured_by)
    assert basis.fullmatch(json.loads(run(*arguments, "--json").stdout)["clock_measured_by"])


UNRESOLVABLE = f"{'x' * 64}.example"
"""A label is too long, so that nobody is asked for the name."""


def test_check_names_a_server_that_cannot_be_resolved(files: Path, responders: list[NtpResponder]) -> None:
    servers = ", ".join(f'"{server}"' for server in (*(each.server for each in responders[:3]), UNRESOLVABLE))
    (files / "ntpsync.yaml").write_text(YAML.format(servers=servers))
    result = run("check", "--ntp-monitoring", str(files / "ntpsync.yaml"))
    assert result.returncode == 0, "three others suffice"
    assert f"WARNING: clock monitor ntp: {UNRESOLVABLE}: the name cannot be resolved" in result.stderr


def test_check_says_of_unresolvable_servers_what_serve_says(files: Path, request: pytest.FixtureRequest) -> None:
    servers = ", ".join(f'"{number}{UNRESOLVABLE}"' for number in range(4))
    (files / "ntpsync.yaml").write_text(YAML.format(servers=servers))
    result = run("check", "--json", "--ntp-monitoring", str(files / "ntpsync.yaml"))
    assert result.returncode == 1, "a server would start"
    assert result.stderr.count("the name cannot be resolved") == 4
    assert "a server would start, but not everything is usable now" in result.stderr
    server = request.getfixturevalue("server")
    server.reach("rejection", "too few time servers answer")
    status, clock = server.readiness()
    assert status == 503
    assert clock in json.loads(result.stdout)["checks"]


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        (("--disable-ntp-monitoring",), "unmonitored"),
        (("--ntp-monitoring", "default", "--disable-ntp-monitoring=true"), "unmonitored"),
        ((), "unmonitored"),
    ],
)
def test_ntp_can_be_left_out(flags: tuple[str, ...], state: str) -> None:
    result = run("clock", "--json", *flags)
    assert json.loads(result.stdout)["state"] == state


def test_disabled_wins_over_the_file_and_leaves_other_monitors(tmp_path: Path) -> None:
    (tmp_path / "tsa.toml").write_text(
        '[profiles.default]\nsigner = "memory:"\n[clock]\nmonitors = ["ntp"]\n[clock.ntp]\nservers = ["a"]\n'
    )
    result = run("clock", "--json", "--config", str(tmp_path / "tsa.toml"), "--disable-ntp-monitoring")
    assert json.loads(result.stdout)["state"] == "unmonitored"
    result = run("clock", "--config", str(tmp_path / "tsa.toml"))
    assert result.returncode == 2
    assert result.stderr.strip() == (
        "timestamp-server: error: clock.ntp: num_servers is 4, but only 1 different servers are listed; "
        "list more or lower num_servers"
    )
