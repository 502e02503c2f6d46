"""Sigstore's configuration files and variables are read as its flags, below everything that is ours."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from tsa_backends.commands import run_command
from tsa_core.api import ConfigError
from tsa_core.cli.reference_settings import FLAG_NAMES, Loaded, all_flags, load
from tsa_core.cli.serve import serve
from tsa_core.testing import ServerProcess

MEMORY = "timestamp-signer: memory\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, and another as $HOME."""
    for name in ("here", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def loaded(*arguments: str, **environ: str) -> Loaded:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("TSA_", "TLS_")) or name in {"HOST", "PORT"}]:
            patch.delenv(name)
        for name, value in {"HOME": str(Path("../home").resolve()), **environ}.items():
            patch.setenv(name, value)
        return load(serve.make_context("serve", list(arguments)).params)


def refusal(*arguments: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(*arguments, **environ)
    return str(caught.value)


# -- files ---------------------------------------------------------------------------------------------------------

FORMATS: dict[str, Callable[[dict[str, Any]], str]] = {
    "yaml": lambda values: "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items()),
    "yml": lambda values: "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items()),
    "json": json.dumps,
    "toml": lambda values: "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()),
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_is_read_as_flags(here: Path, suffix: str) -> None:
    Path(f"x.{suffix}").write_text(
        FORMATS[suffix](
            {
                "timestamp-signer": "file",
                "file-signer-key-path": "key.pem",
                "certificate-chain-path": "/etc/chain.pem",
                "scheme": ["http", "unix"],
                "socket-path": "s.sock",
                "port": 3004,
                "http-request-id-header-name": "X-Trace",
                "use-http-201": True,
                "read-timeout": "1m30s",
            }
        )
    )
    settings = loaded("--config", f"x.{suffix}").settings
    profile, server = settings.profiles["default"], settings.server
    # As for flags, and as there, a relative path is one of the folder where the server is started.
    assert profile.signer == f"file:{here}/key.pem"
    assert profile.certificate_chain == Path("/etc/chain.pem")
    assert (server.schemes, server.socket_path, server.port) == (["http", "unix"], here / "s.sock", 3004)
    assert (server.request_id_header, server.use_http_201) == ("X-Trace", True)
    assert server.read_timeout == timedelta(seconds=90)
    assert settings.config_file == Path(f"x.{suffix}"), "a server with --watch looks at it"


def test_yaml_values_are_taken_as_they_are_written(here: Path) -> None:
    Path("x.yaml").write_text(
        MEMORY + "default-policy-oid: 1.10\naccepted-policy-oids:\n  - 1.2.840\n  - 1.30\nLOG-TYPE: prod\n"
    )
    settings = loaded("--config", "x.yaml").settings
    assert settings.profiles["default"].policies == ["1.10", "1.2.840", "1.30"]
    assert settings.log.type == "prod"


@pytest.mark.plugin("memory")
def test_tsa_config_may_name_such_a_file(here: Path) -> None:
    Path("x.yaml").write_text(MEMORY + "port: 7\n")
    done = run_command("check", "--json", cwd=here, environ={"TSA_CONFIG": "x.yaml"})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("place", ["../home", "."])
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_in_the_usual_places_is_read_unasked(here: Path, place: str, suffix: str) -> None:
    path = Path(place, f"timestamp-server.{suffix}")
    path.write_text(FORMATS[suffix]({"timestamp-signer": "memory", "port": 3004}))
    found = loaded()
    assert found.settings.server.port == 3004
    assert len(found.notes) == 1
    assert "settings are read from" in found.notes[0]
    assert path.name in found.notes[0]


def test_home_comes_first_and_a_named_file_before_both(here: Path) -> None:
    for place, port in (("../home/timestamp-server.yaml", 1), ("timestamp-server.yaml", 2), ("named.yaml", 3)):
        Path(place).write_text(f"{MEMORY}port: {port}\n")
    assert loaded().settings.server.port == 1
    named = loaded("--config", "named.yaml")
    assert (named.settings.server.port, named.notes) == (3, [])


def test_what_the_help_of_sigstores_server_names_is_not_read_there_either(here: Path) -> None:
    Path("../home/.timestamp-server.yaml").write_text("port: 7\n")
    assert loaded("--timestamp-signer", "memory").settings.server.port == 3000


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.yaml", "prot: 3\n", "x.yaml: 'prot' is not the name of a flag; did you mean 'port'?"),
        ("x.yaml", "config: y\n", "'config' is not the name of a flag"),
        ("x.yaml", "help: true\n", "'help' is not the name of a flag"),
        ("x.yaml", "port:\n", "port has no value"),
        ("x.yaml", "scheme: []\n", "scheme has no value"),
        ("x.yaml", "port: {a: 1}\n", "port has a value that no flag takes"),
        ("x.yaml", "port: 1\nport: 2\n", "'port' stands there twice"),
        ("x.yaml", "port: 1\nPort: 2\n", "port stands there twice"),
        ("x.json", '{"port": 1, "port": 2}', "'port' stands there twice"),
        ("x.yaml", "- port\n", "does not hold names with values"),
        ("x.yaml", "port: [\n", "the configuration file cannot be read: while parsing"),
        ("x.yaml", "port: 70000\n", "port: Invalid value for '--port': 70000 is not in the range"),
        ("x.yaml", "use-http-201: maybe\n", "neither true nor false"),
        ("x.yaml", MEMORY + "cleanup-timeout: soon\n", "x.yaml: cleanup-timeout: server.idle_timeout: 'soon' is not a"),
        ("x.yaml", "port: 1\n", "x.yaml: names no signer; add timestamp-signer: kms, file or tink, or memory"),
        ("x.yaml", "", "names no signer"),
        ("x.json", "[" * 100_000, "the configuration file cannot be read"),
        ("x.yaml", "a: &a [x, x]\nb: &b [*a, *a]\nport: [*b, *b]\n", "'a' is not the name of a flag"),
        ("x.yaml", "port: \xff\n", "Invalid value for '--port'"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(here: Path, name: str, text: str, said: str) -> None:
    Path(name).write_text(text)
    complaint = refusal("--config", name)
    assert said in complaint
    assert complaint.startswith(name)
    assert "\n" not in complaint


def test_a_value_of_a_secret_is_not_repeated(here: Path) -> None:
    Path("x.yaml").write_text("timestamp-signer: kms\nfile-signer-passwd: {hunter2: 1}\n")
    assert "hunter2" not in refusal("--config", "x.yaml")


def test_a_tsa_toml_is_no_such_file(here: Path) -> None:
    Path("tsa.toml").write_text('[profiles.default]\nsigner = "memory:"\n[server]\nport = 5\n')
    Path("tsa.conf").write_text('[profiles.default]\nsigner = "memory:"\n[server]\nport = 6\n')
    assert loaded("--config", "tsa.toml").settings.server.port == 5
    assert loaded("--config", "tsa.conf").settings.server.port == 6
    Path("tsa.toml").write_text("[profiles.default\n")
    assert "the configuration file is not TOML" in refusal("--config", "tsa.toml")


def test_commands_that_read_tables_of_plugins_say_how_to_get_a_tsa_toml(here: Path) -> None:
    Path("x.yaml").write_text(MEMORY)
    done = run_command(
        "--parent-kms-resource", "file:a", "--leaf-kms-resource", "file:b", "--output", "o", "--config", "x.yaml",
        program="fetch-tsa-certs", cwd=here,
    )  # fmt: skip
    assert done.returncode == 2
    assert "`timestamp-server migrate x.yaml` prints" in done.stderr


# -- precedence ----------------------------------------------------------------------------------------------------


def test_flags_go_before_tsa_variables_before_the_references_before_its_file(here: Path) -> None:
    Path("timestamp-server.yaml").write_text(MEMORY + "port: 4\nhost: four\nlog-type: prod\n")
    ours = {"TSA_SERVER__PORT": "2"}
    assert loaded("--port", "1", PORT="3", **ours).settings.server.port == 1
    assert loaded(PORT="3", **ours).settings.server.port == 2
    assert loaded(PORT="3").settings.server.port == 3
    assert loaded().settings.server.port == 4
    assert loaded(PORT="3").settings.log.type == "prod"


def test_a_tsa_toml_goes_before_the_references_variables(here: Path) -> None:
    Path("tsa.toml").write_text('[profiles.default]\nsigner = "memory:"\n[server]\nport = 5\n')
    found = loaded("--config", "tsa.toml", **{"PORT": "3", "HOST": "localhost", "TIMESTAMP-SIGNER": "file"})
    assert (found.settings.server.port, found.settings.server.host) == (5, ["localhost"])
    assert found.settings.profiles["default"].signer == "memory:"
    assert [note for note in found.notes if "PORT" in note or "TIMESTAMP" in note] == []


def test_flags_and_a_file_make_one_signer(here: Path) -> None:
    Path("timestamp-server.yaml").write_text("timestamp-signer: file\nfile-signer-key-path: /a.pem\n")
    assert loaded().settings.profiles["default"].signer == "file:/a.pem"
    assert loaded("--file-signer-key-path", "/b.pem").settings.profiles["default"].signer == "file:/b.pem"
    assert loaded("--timestamp-signer", "memory").settings.profiles["default"].signer == "memory:"
    with pytest.raises(click.UsageError, match="name 2 keys"):
        loaded("--kms-key-resource", "awskms:///x")


def test_a_flag_that_repeats_the_file_still_goes_before_a_variable(here: Path) -> None:
    Path("timestamp-server.yaml").write_text(MEMORY + "port: 4\n")
    assert loaded("--port", "4", TSA_SERVER__PORT="2").settings.server.port == 4


# -- variables -----------------------------------------------------------------------------------------------------


def test_variables_are_named_with_what_goes_before_them(here: Path) -> None:
    found = loaded(HOST="127.0.0.9", PORT="0", SCHEME="http", TSA_SERVER__SCHEMES="http")
    assert (found.settings.server.host, found.settings.server.port) == (["127.0.0.9"], 0)
    assert found.notes == [
        "the variable HOST gives --host, as for Sigstore's server; TSA_SERVER__HOST goes before it",
        "the variable PORT gives --port, as for Sigstore's server; TSA_SERVER__PORT goes before it",
    ]


@pytest.mark.parametrize("scheme", ["http unix", "http,unix"])
def test_schemes_are_separated_by_spaces_there(here: Path, scheme: str) -> None:
    assert loaded("--socket-path", "s", SCHEME=scheme).settings.server.schemes == ["http", "unix"]


def test_tls_variables_are_read_where_https_is_served(here: Path) -> None:
    tls = {"TLS_HOST": "127.0.0.3", "TLS_PORT": "0", "TLS_CERTIFICATE": "c.pem", "TLS_PRIVATE_KEY": "k.pem"}
    server = loaded("--scheme", "https", TLS_CA_CERTIFICATE="ca.pem", **tls).settings.server
    assert (server.tls_host, server.tls_port) == (["127.0.0.3"], 0)
    assert (server.tls_certificate, server.tls_key, server.tls_ca) == (here / "c.pem", here / "k.pem", here / "ca.pem")
    for environ in ({"TSA_SERVER__SCHEMES": "https"}, {"SCHEME": "https"}):
        assert loaded(**tls, **environ).settings.server.tls_port == 0
    plain = loaded(**tls)
    assert plain.settings.server.tls_certificate is None
    assert plain.notes == [f"the variable {name} is not read, because nothing serves https" for name in tls]


def test_variables_that_are_called_as_a_flag(here: Path) -> None:
    environ = {"TIMESTAMP-SIGNER": "file", "FILE-SIGNER-KEY-PATH": "/k.pem", "FILE-SIGNER-PASSWD": "hunter2"}
    found = loaded(**environ)
    assert found.settings.profiles["default"].signer == "file:/k.pem"
    assert found.settings.signer["file"]["password"] == "hunter2"
    assert len(found.notes) == 3
    assert "hunter2" not in " ".join(found.notes)


def test_a_wrong_variable_is_named(here: Path) -> None:
    complaint = refusal(PORT="tcp://10.0.0.1")
    assert complaint.startswith("environment variable PORT: Invalid value for '--port'")
    assert loaded("--port", "0", PORT="tcp://10.0.0.1").settings.server.port == 0
    assert loaded(PORT="").settings.server.port == 3000


@pytest.mark.plugin("memory")
def test_a_server_says_at_start_what_it_has_read(here: Path) -> None:
    Path("timestamp-server.yaml").write_text(MEMORY + "log-type: prod\nport: 0\n")
    environ = {"HOME": str(here), "HOST": "127.0.0.1"}
    with ServerProcess(None, "--metrics=false", environ=environ) as server:
        assert server.get("/ping").body == b"."
    lines = [json.loads(line) for line in server.log.splitlines()]
    assert f"settings are read from {here}/timestamp-server.yaml" in lines[0]["event"]
    assert "the variable HOST gives --host" in lines[1]["event"]


def test_the_names_of_flags_are_those_that_are_parsed() -> None:
    parsed = {name for parameter in all_flags().params for name in parameter.opts if name.startswith("--")}
    assert {f"--{name}" for name in FLAG_NAMES} == parsed
