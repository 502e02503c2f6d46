"""The reference system's YAML file and the same in TOML."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tsa_core.api import ConfigError
from tsa_monitor_ntp.monitor import NtpMonitor
from tsa_monitor_ntp.options import NtpOptions
from tsa_monitor_ntp.settings_file import effective_options

FOUR = ["a.example.org", "b.example.org", "c.example.org", "d.example.org"]

REFERENCE = """\
# Number of attempts to contact a ntp server before giving up.
request_attempts: 2
request_timeout: 4
num_servers: 4
server_threshold: 3
max_time_delta: 5
period: 30
servers:
  - "time.example.org"
  - "time1.example.org"
  - "time2.example.org"
  - "time3.example.org"
  - "time4.example.org"
"""


def load(path: Path, text: str, **table: Any) -> NtpOptions:
    (path / "ntpsync.yaml").write_text(text)
    return effective_options(NtpOptions.model_validate({"file": str(path / "ntpsync.yaml"), **table}))


def test_the_references_file(tmp_path: Path) -> None:
    options = load(tmp_path, REFERENCE)
    assert options.request_attempts == 2
    assert options.request_timeout == timedelta(seconds=4)
    assert options.max_time_delta == timedelta(seconds=5)
    assert options.period == timedelta(seconds=30)
    assert len(options.servers) == 5


def test_missing_keys_take_the_defaults(tmp_path: Path) -> None:
    options = load(tmp_path, f"servers: {FOUR}\nperiod:\n")
    assert (options.num_servers, options.server_threshold, options.request_attempts) == (4, 3, 3)
    assert options.request_timeout == timedelta(seconds=5)
    assert options.max_time_delta == timedelta(seconds=6)
    assert options.period == timedelta(seconds=60)


def test_keys_in_toml_win(tmp_path: Path) -> None:
    options = load(tmp_path, REFERENCE, period="10s", servers=FOUR)
    assert options.period == timedelta(seconds=10)
    assert options.servers == FOUR
    assert options.request_attempts == 2


def test_default_has_servers() -> None:
    options = effective_options(NtpOptions(file="default"))
    assert len(options.servers) >= options.num_servers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("perod: 60\n", "did you mean 'period'"),
        ("- a\n- b\n", "must be keys and values"),
        ("servers: [a\n", "not YAML"),
        (f"servers: {FOUR}\nnum_servers: many\n", "num_servers: "),
        (f"servers: {FOUR}\nperiod: -1\n", "period: "),
        ("period: 60\n", "no servers"),
        ("servers: [a, b, c]\n", "only 3 different servers"),
        ("servers: [a, a, a, a]\n", "only 1 different servers"),
        (f"servers: {FOUR}\nserver_threshold: 5\n", "server_threshold is 5"),
        (f"servers: {FOUR}\nserver_threshold: 0\n", "server_threshold: "),
        (f"servers: {FOUR}\nrequest_timeout: 7\n", "max_time_delta"),
        (f"servers: {FOUR}\nrequest_timeout: 0\n", "request_timeout"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_what_cannot_work_is_one_line_that_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert message in str(raised.value)
    assert "ntpsync.yaml" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("again", ["a.example.org:123", "A.example.org", "a.example.org."])
def test_one_server_has_one_vote_however_it_is_written(again: str) -> None:
    with pytest.raises(ConfigError, match=r"clock\.ntp\.servers: 'a\.example\.org' and .* are one server"):
        NtpMonitor(NtpOptions.model_validate({"servers": [*FOUR, again]}))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml: the NTP settings cannot be read: No such file"):
        effective_options(NtpOptions(file=str(tmp_path / "nothing.yaml")))
