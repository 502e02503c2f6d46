"""A setting that has no effect is an error with its place, and so is a value that cannot be meant."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tsa_core.api import ConfigError, resolve_path
from tsa_core.config import load_settings

MEMORY = '[profiles.default]\nsigner = "memory:"\n'


def said_of(tmp_path: Path, text: str) -> str:
    """What is said of a file with these settings, without the file's name."""
    path = tmp_path / "tsa.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environ={})
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("table", "line", "said"),
    [
        ("server", 'tls_host = "::1"', "tls_host has no effect without the scheme https"),
        ("server", "tls_port = 4443", "tls_port has no effect without the scheme https"),
        ("server", 'socket_mode = "0600"', "socket_mode has no effect without the scheme unix"),
        ("server", "profiling_port = 6061", "profiling_port has no effect without profiling = true"),
        ("metrics", "enabled = false\nport = 9090", "port has no effect with enabled = false"),
        ("log", "digest = true\naccess = false", "digest has no effect without the line for each request"),
        ("log", 'digest = true\nlevel = "error"', "digest has no effect without the line for each request"),
    ],
)
def test_a_setting_of_what_is_off_is_refused(tmp_path: Path, table: str, line: str, said: str) -> None:
    assert said_of(tmp_path, f"{MEMORY}[{table}]\n{line}\n").startswith(f"{table}: {said}")


@pytest.mark.parametrize("line", ['max_holdover = "2h"', 'max_verdict_age = "1m"', "widen_accuracy = true"])
def test_limits_of_measurements_need_something_that_measures(tmp_path: Path, line: str) -> None:
    message = said_of(tmp_path, f"{MEMORY}[clock]\n{line}\n")
    assert message.startswith(f"clock.{line.partition(' ')[0]} has no effect, because nothing measures the clock")


def test_what_is_for_clocks_without_monitors_is_refused_beside_one(tmp_path: Path) -> None:
    message = said_of(tmp_path, f'{MEMORY}[clock]\nmonitors = ["ntp"]\nunmonitored_step = "warn"\n')
    assert message.startswith("clock.unmonitored_step has no effect, because monitors measure the clock")
    disabled = 'monitors = ["ntp"]\ndisabled_monitors = ["ntp"]\nunmonitored_step = "warn"\n'
    (tmp_path / "tsa.toml").write_text(f"{MEMORY}[clock]\n{disabled}")
    assert load_settings(tmp_path / "tsa.toml", environ={}).clock.unmonitored_step == "warn"


@pytest.mark.parametrize(
    ("table", "setting", "value"),
    [
        ("server", "schemes", "http"),
        ("server", "host", "127.0.0.1"),
        ("clock", "monitors", "ntp"),
        ("clock", "disabled_monitors", "ntp"),
        ("policy", "selectors", "oid"),
        ("response", "processors", "archive"),
        ("audit", "sinks", "auditfile"),
        ("observe", "observers", "otel"),
        ("health", "checks", "disk"),
        ("profiles.other", "policies", "1.2.3"),
        ("profiles.other", "hashes", "sha256"),
        ("profiles.other", "paths", "/old"),
    ],
)
def test_a_list_has_nothing_twice(tmp_path: Path, table: str, setting: str, value: str) -> None:
    signer = 'signer = "memory:"\n' if table.startswith("profiles") else ""
    message = said_of(tmp_path, f'{MEMORY}[{table}]\n{signer}{setting} = ["{value}", "{value}"]\n')
    assert message.startswith(f"{table}")
    assert message.endswith(f"{setting} lists {value!r} twice")


def test_two_profiles_cannot_answer_at_one_path(tmp_path: Path) -> None:
    text = f'{MEMORY}paths = ["/old"]\n[profiles.other]\nsigner = "memory:"\npaths = ["/new", "/old"]\n'
    message = said_of(tmp_path, text)
    assert message.startswith("profiles.default.paths and profiles.other.paths both have '/old'")


def test_what_is_said_of_two_tables_names_the_file(tmp_path: Path) -> None:
    """The flags, which gave nothing, were named."""
    message = said_of(tmp_path, f"{MEMORY}[metrics]\ntenants = 4\n")
    assert message.startswith("metrics.tenants has no effect without metrics and [middleware] guards")


@pytest.mark.parametrize("setting", ["socket_path", "tls_certificate", "pid_file", "state_directory"])
def test_a_home_directory_of_nobody_is_no_traceback(tmp_path: Path, setting: str) -> None:
    message = said_of(tmp_path, f'{MEMORY}[server]\n{setting} = "~no-such-user-here/file"\n')
    assert message.startswith(f"server.{setting}: the home directory '~no-such-user-here' is not known here")


@pytest.mark.parametrize(
    ("value", "said"),
    [("", "must not be empty"), (" ", "must not be empty"), ("a\\u0000b", "a path cannot have control")],
)
def test_what_names_no_file_is_refused_where_it_stands(tmp_path: Path, value: str, said: str) -> None:
    message = said_of(tmp_path, f'{MEMORY}certificate_chain = "{value}"\n')
    assert message.startswith(f"profiles.default.certificate_chain: {said}")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("server.open_timeout", '[server]\nopen_timeout = "0s"'),
        ("clock.source_timeout", "[clock]\nsource_timeout = 0"),
        ("policy.selector_timeout", "[policy]\nselector_timeout = 0"),
        ("response.processor_timeout", "[response]\nprocessor_timeout = 0"),
        ("audit.sink_timeout", "[audit]\nsink_timeout = 0"),
        ("profiles.default.signer_timeout", "signer_timeout = 0"),
    ],
)
def test_no_time_at_all_is_no_limit_of_time(tmp_path: Path, path: str, text: str) -> None:
    assert said_of(tmp_path, f"{MEMORY}{text}\n").startswith(f"{path}: must be more than 0")


@pytest.mark.parametrize("name", ["Content-Length", "host", "Transfer-Encoding"])
def test_the_request_id_goes_into_no_header_with_another_meaning(tmp_path: Path, name: str) -> None:
    message = said_of(tmp_path, f'{MEMORY}[server]\nrequest_id_header = "{name}"\n')
    assert message.startswith(f"server.request_id_header: {name} has a meaning in HTTP already")


def test_what_images_and_platforms_set_for_all_is_left_alone() -> None:
    """The container image sets both hosts, whatever is served; platforms set PORT."""
    text = MEMORY + '[server]\nschemes = ["unix"]\nsocket_path = "tsa.sock"\n[metrics]\nenabled = false\n'
    flags = tomllib.loads(text)
    environ = {"TSA_SERVER__HOST": "0.0.0.0", "TSA_SERVER__PORT": "8080", "TSA_METRICS__HOST": "0.0.0.0"}
    assert load_settings(overrides=flags, environ=environ).server.port == 8080


def test_paths_of_plugins_have_no_control_characters_either() -> None:
    """pathlib took them, and the file system's refusal came as a crash of the plugin."""
    with pytest.raises(ValueError, match="a path cannot have control characters"):
        resolve_path(Path("key\0.pem"))


def test_a_name_with_a_line_break_stays_in_one_line(tmp_path: Path) -> None:
    message = said_of(tmp_path, f'{MEMORY}[server]\n"a\\nb" = 1\n')
    assert message.startswith("unknown setting server.a?b; ")
    assert len(message.splitlines()) == 1
