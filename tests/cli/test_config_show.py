"""timestamp-server config show: every setting, where it came from, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tsa_backends.commands import run_command
from tsa_core.secret_parts import without_secret_parts

pytestmark = pytest.mark.plugin("memory", "file", "ntp", "pkcs11", "auditfile")

CONFIG = """\
[server]
port = 4000
pid_file = "tsa.pid"
[clock]
monitors = ["ntp"]
[clock.ntp]
servers = ["time.example.org"]
[audit]
sinks = ["auditfile"]
[audit.auditfile]
path = "audit.log"
[profiles.default]
signer = "file:key.pem"
certificate_chain = "chain.pem"
[profiles.other]
signer = "pkcs11:token=t;object=o?pin-value=hunter2&module-path=/x"
[signer.file]
password = "hunter2"
"""


def shown(tmp_path: Path, *arguments: str, **variables: str) -> dict[str, tuple[str, str]]:
    (tmp_path / "tsa.toml").write_text(CONFIG)
    result = run_command(
        "config", "show", "--config", "tsa.toml", "--json", *arguments, cwd=tmp_path, environ=variables
    )
    assert result.returncode == 0, result.stderr
    assert "hunter2" not in result.stdout + result.stderr
    return {row["setting"]: (row["value"], row["origin"]) for row in json.loads(result.stdout)}


def test_each_value_tells_where_it_came_from(tmp_path: Path) -> None:
    rows = shown(tmp_path, "--log-type", "prod", TSA_SERVER__HOST="::1", TSA_CLOCK__NTP__PERIOD="30s")
    assert rows["server.port"] == ("4000", "tsa.toml:2")
    assert rows["server.host"] == ('["::1"]', "environment variable TSA_SERVER__HOST")
    assert rows["log.type"] == ('"prod"', "command line: --log-type")
    assert rows["server.workers"] == ("1", "default")
    assert rows["server.tls_key"] == ("(not set)", "default")
    assert rows["clock.ntp.servers"] == ('["time.example.org"]', "tsa.toml:7")
    assert rows["clock.ntp.period"] == ('"30s"', "environment variable TSA_CLOCK__NTP__PERIOD")
    assert rows["audit.auditfile.path"] == ('"audit.log"', "tsa.toml:11")
    assert rows["profiles.default.fraction_digits"] == ("0", "default")


def test_a_variable_goes_before_the_file(tmp_path: Path) -> None:
    assert shown(tmp_path, TSA_SERVER__PORT="5000")["server.port"] == (
        "5000",
        "environment variable TSA_SERVER__PORT",
    )


def test_no_secret_is_shown(tmp_path: Path) -> None:
    rows = shown(tmp_path)
    assert rows["signer.file.password"] == ("(hidden)", "tsa.toml:18")
    assert rows["profiles.other.signer"][0] == '"pkcs11:token=t;object=o?pin-value=(hidden)&module-path=/x"'


TABLES = """
[observe]
observers = ["otel"]
[observe.otel]
endpoint = "http://user:hunter2@collector:4318/v1?access_token=hunter2"
[observe.otel.headers]
authorization = "hunter2"
env = "hunter2"
tenant = { env = "TENANT" }
"""


@pytest.mark.plugin("otel", "cliplugin")
def test_no_secret_of_a_table_or_an_address_is_shown(tmp_path: Path) -> None:
    signer = '[profiles.default]\nsigner = "cliplugin:x://k"\n[signer.cliplugin]\nenvironment = { A = "hunter2" }\n'
    (tmp_path / "tsa.toml").write_text(signer + TABLES)
    printed = run_command("config", "show", "--config", "tsa.toml", cwd=tmp_path).stdout
    assert "hunter2" not in printed
    assert '{ authorization = (hidden), env = (hidden), tenant = { env = "TENANT" } }' in printed
    assert '"http://user:(hidden)@collector:4318/v1?access_token=(hidden)"' in printed
    assert "{ A = (hidden) }" in printed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "pkcs11:token=t;object=o?pin_value=1&module-path=/m",
            "pkcs11:token=t;object=o?pin_value=(hidden)&module-path=/m",
        ),
        ("hashivault://host/key?token=1", "hashivault://host/key?token=(hidden)"),
        ("pkcs11:object=o?pin-value=a'b\"4711", "pkcs11:object=o?pin-value=(hidden)"),
        ("pkcs11:object=o?pin-value=a'b&module-path=/m", "pkcs11:object=o?pin-value=(hidden)&module-path=/m"),
        ("the URI 'hsm://k?token=a', and", "the URI 'hsm://k?token=(hidden)', and"),
        ("redis://:a'b\"c@host:6379/0", "redis://:(hidden)@host:6379/0"),
        ("redis://:a@b@host:6379/0", "redis://:(hidden)@host:6379/0"),
        ("redis://:a%40b@host:6379/0", "redis://:(hidden)@host:6379/0"),
        ("https://host:8200/v1/a@b", "https://host:8200/v1/a@b"),
        ("https://[::1]:8200/v1/a@b", "https://[::1]:8200/v1/a@b"),
        ("'redis://tsa:a/b@c/d@host:6379/0' and", "'redis://tsa:(hidden)@host:6379/0' and"),
        ("redis:/tsa:a/b@c@host", "redis:/tsa:(hidden)@host"),  # as a path
        ("redis://tsa:1/b@host", "redis://tsa:1/b@host"),  # the port 1 of the host tsa
        ("redis://tsa:1a/b?c#d@host:6379/0", "redis://tsa:(hidden)@host:6379/0"),
        ("pkcs11:token=my%20token", "pkcs11:token=my%20token"),
    ],
)
def test_the_secret_parts_of_an_address(text: str, expected: str) -> None:
    assert without_secret_parts(text) == expected


def test_the_place_of_a_secret_is_none(tmp_path: Path) -> None:
    (tmp_path / "tsa.toml").write_text(CONFIG.replace('"hunter2"', '{ file = "password" }'))
    result = run_command("config", "show", "--config", "tsa.toml", cwd=tmp_path)
    assert 'signer.file.password\t{ file = "password" }\n' in result.stdout
    assert not (tmp_path / "password").exists()


def test_changed_leaves_defaults_out(tmp_path: Path) -> None:
    rows = shown(tmp_path, "--changed")
    assert "server.port" in rows
    assert "default" not in {origin for _, origin in rows.values()}


def test_without_any_configuration_the_trial_key_is_told() -> None:
    result = run_command("config", "show", "--origin", "--changed")
    assert result.stdout == 'profiles.default.signer\t"memory:"\tdefault, because nothing names a signer\n'
    policy = ("--default-policy-oid", "1.2.3")
    assert "default, because nothing names a signer" in run_command("config", "show", "--origin", *policy).stdout


def test_settings_in_sigstores_words_name_their_flag(tmp_path: Path) -> None:
    (tmp_path / "timestamp-server.yaml").write_text("port: 3004\ntimestamp-signer: memory\n")
    arguments = ("config", "show", "--origin", "--changed", "--config", "timestamp-server.yaml")
    result = run_command(*arguments, cwd=tmp_path)
    assert "server.port\t3004\ttimestamp-server.yaml: port\n" in result.stdout


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tsa.toml").write_text(CONFIG.replace("port = 4000", "prot = 4000"))
    result = run_command("config", "show", "--config", "tsa.toml", cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
