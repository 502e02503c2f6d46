"""timestamp-server status: what a running server says of itself, and its health as an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from tests.tls_material import TlsMaterial
from tsa_backends.commands import run_command
from tsa_backends.server_process import free_port
from tsa_core.cli.running_server import address_of, configured_addresses
from tsa_core.cli.status import duration_text
from tsa_core.config import load_settings
from tsa_core.testing import ServerProcess, encode_request

pytestmark = pytest.mark.plugin("memory")


@dataclass(frozen=True, kw_only=True)
class Running:
    config: Path
    server: ServerProcess


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("status")
    config = folder / "tsa.toml"
    port, metrics = free_port(), free_port()
    config.write_text(
        f'[server]\nhost = "0.0.0.0"\nport = {port}\npid_file = "tsa.pid"\n[metrics]\nport = {metrics}\n'
        '[profiles.default]\nsigner = "memory:"\n[profiles.other]\nsigner = "memory:"\npolicies = ["1.2.3"]\n'
    )
    with ServerProcess(config, "--host", "0.0.0.0", "--port", str(port)) as server:
        server.stamp(encode_request())
        yield Running(config=config, server=server)


def test_status_tells_all_that_is_known(running: Running) -> None:
    result = run_command("status", "--config", running.config, "--format", "json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["ready"] is True
    assert document["url"].startswith("http://127.0.0.1:")
    assert document["pid"] == running.server.process.pid
    assert document["uptime_seconds"] >= 0
    assert {profile["name"] for profile in document["profiles"]} == {"default", "other"}
    assert all(profile["days_left"] > 3000 for profile in document["profiles"])
    assert document["tokens"] == {"default": 1}
    assert document["counters_from"].endswith("/metrics")
    assert "clock" in {check["name"] for check in document["checks"]}
    assert document["notes"] == []


def test_status_for_people(running: Running) -> None:
    text = run_command("status", "--config", running.config).stdout
    for start in ("state\tready", "process\t", "up\t", "clock\tgood", "profile other\t", "tokens\tdefault: 1"):
        assert f"\n{start}" in text


def test_quiet_says_nothing_when_all_is_well(running: Running) -> None:
    result = run_command("status", "--config", running.config, "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_url_needs_no_configuration(running: Running) -> None:
    result = run_command("status", "--url", running.server.url)
    assert result.returncode == 0
    assert "profile default\t" in result.stdout


def test_who_does_not_run_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tsa.toml").write_text(f'[server]\nport = {free_port()}\n[profiles.default]\nsigner = "memory:"\n')
    for arguments in (("--quiet",), (), ("--format", "json")):
        result = run_command("status", "--config", "tsa.toml", *arguments, cwd=tmp_path)
        assert result.returncode == 1
        assert result.stderr.count("\n") == 1
        assert "is the server running?" in result.stderr
    assert json.loads(result.stdout)["ready"] is False


def test_who_is_no_timestamp_server_is_told_apart(running: Running) -> None:
    settings = load_settings(running.config)
    result = run_command("status", "--url", f"http://127.0.0.1:{settings.metrics.port}")
    assert result.returncode == 1
    assert "is no timestamp-server" in result.stderr


def test_a_configuration_that_cannot_be_read_is_another_exit_code(tmp_path: Path) -> None:
    assert run_command("status", "--config", tmp_path / "nix.toml").returncode == 2
    assert run_command("status", "--url", "ftp://x").returncode == 2


def test_health_over_https_and_over_a_unix_socket(tmp_path: Path) -> None:
    certificate, key = TlsMaterial(tmp_path).write("server")
    config = tmp_path / "tsa.toml"
    config.write_text(
        f'[server]\nschemes = ["https", "unix"]\ntls_port = {free_port()}\nsocket_path = "tsa.sock"\n'
        f'tls_certificate = "{certificate}"\ntls_key = "{key}"\n'
        '[metrics]\nenabled = false\n[profiles.default]\nsigner = "memory:"\n'
    )
    addresses = configured_addresses(load_settings(config).server)
    assert [address.url.partition(":")[0] for address in addresses] == ["unix", "https"]
    with ServerProcess(None, "--config", str(config), wait_for="listening on https"):
        for address in addresses:
            assert json.loads(address.get("/readyz", seconds=10).body)["ready"] is True
        assert run_command("status", "--config", config, "--quiet").returncode == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (200_000, "2 d 7 h")]
)
def test_durations_are_in_two_units(seconds: int, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize("url", ["http://[::1", "http://[x]", "http://127.0.0.1:x"])
def test_a_url_that_is_none_is_a_mistake_of_one_line(url: str) -> None:
    with pytest.raises(click.UsageError, match="has no host or no port that can be"):
        address_of(url)
