"""`timestamp-server migrate` prints a tsa.toml that means what the flags and the file mean, with no secret in it."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tsa_backends.commands import run_command
from tsa_core.cli.migrate import render
from tsa_core.cli.serve import serve
from tsa_core.cli.settings_flags import SETTING_PARAMETERS, overrides
from tsa_core.config import load_settings

VALUES: dict[str, list[str]] = json.loads(Path(__file__).with_name("reference_values.json").read_text())
PLACES = {
    "config": "tsa.toml", "key": "key.pem", "keyset": "keyset.json", "chain": "chain.pem", "ntp": "ntp.yaml",
    "socket": "tsa.sock", "certificate": "tls.pem", "tls_key": "tls.key", "ca": "ca.pem",
}  # fmt: skip
OTHER_KEYS = ["--kms-key-resource", "--tink-key-resource", "--tink-keyset-path", "--tink-hcvault-token"]
SETS = {
    "file": [name for name in VALUES if name not in {"--config", "--disable-ntp-monitoring", *OTHER_KEYS}],
    "kms": ["--kms-key-resource", "--certificate-chain-path", "--disable-ntp-monitoring", "--port"],
    "tink": ["--tink-keyset-path", "--tink-key-resource", "--tink-hcvault-token", "--certificate-chain-path"],
    "memory": [],
}


def written(names: list[str]) -> list[str]:
    """Return flags as they are written on a command line."""
    words: list[str] = []
    for name in names:
        values = [value.format(**PLACES) for value in VALUES[name]] or [""]
        for value in values:
            words += [name + value] if value == "" or value.startswith("=") else [name, value]
    return words


def migrate(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return run_command("migrate", *arguments, cwd=cwd)


def settings(folder: Path, toml: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("FILE_SIGNER_PASSWORD", "password")
    monkeypatch.setenv("VAULT_TOKEN", "s.token")
    path = folder / "tsa.toml"
    path.write_text(toml)
    found = load_settings(path).model_dump()
    for table in found["signer"].values():
        # The plugin resolves what the core keeps as it is written.
        for key, value in table.items():
            table[key] = {"FILE_SIGNER_PASSWORD": "password", "VAULT_TOKEN": "s.token"}.get(
                value["env"] if isinstance(value, dict) else "", value
            )
    return found


@pytest.mark.parametrize("kind", SETS)
def test_it_means_what_the_flags_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = written(SETS[kind])
    done = migrate(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    meant = overrides(serve.make_context("serve", list(arguments)).params)
    assert settings(tmp_path, done.stdout, monkeypatch) == load_settings(overrides=meant).model_dump()


def test_it_means_what_the_file_means_with_flags_over_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.yaml").write_text(
        "timestamp-signer: file\nfile-signer-key-path: k.pem\ncertificate-chain-path: /c.pem\n"
        "port: 3004\nhost: 0.0.0.0\n"
    )
    done = migrate("--port", "3005", "old.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = settings(tmp_path, done.stdout, monkeypatch)
    assert (found["server"]["host"], found["server"]["port"]) == (["0.0.0.0"], 3005)
    assert found["profiles"]["default"]["signer"] == f"file:{tmp_path}/k.pem"


def test_a_whole_command_line_may_be_pasted(tmp_path: Path) -> None:
    plain = migrate("--port", "7")
    assert plain.stdout.count("port = 7\n") == 1
    for words in (["timestamp-server", "serve"], ["serve"], ["timestamp-server"]):
        assert migrate(*words, "--port", "7").stdout == plain.stdout


def test_secrets_are_not_printed(tmp_path: Path) -> None:
    arguments = ["--file-signer-key-path", "k.pem", "--file-signer-passwd", "hunter2"]
    done = migrate(*arguments, cwd=tmp_path)
    assert "hunter2" not in done.stdout + done.stderr
    assert 'password = { env = "FILE_SIGNER_PASSWORD" }' in done.stdout
    assert "put it into the variable FILE_SIGNER_PASSWORD" in done.stderr


def test_every_setting_that_a_flag_gives_has_a_place() -> None:
    for setting in SETTING_PARAMETERS:
        *tables, key = setting.split(".")
        values: dict[str, Any] = {key: "value"}
        for table in reversed(tables):
            values = {table: values}
        found: Any = tomllib.loads(render(values)[0])
        for part in (*tables, key):
            found = found[part]
        assert found in ("value", {"env": "FILE_SIGNER_PASSWORD"}, {"env": "VAULT_TOKEN"})


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], '# ntp = { file = "default" }'),
        (["--ntp-monitoring", "default"], "no token is issued"),
        (["--disable-ntp-monitoring"], None),
        (["--ntp-monitoring", "default", "--ntp-on-failure", "warn"], None),
    ],
)
def test_a_comment_says_what_means_more_here(arguments: list[str], hint: str | None) -> None:
    text = migrate(*arguments).stdout
    clock = text.partition("[clock]\n")[2].partition("\n[profiles")[0]
    assert (hint in clock) if hint else ("#" not in clock)
    for line in ('# rejections = "sigstore"', "# max_request_body_size = 1048576", '# include_chain = "leaf"'):
        assert line in text
    assert "# include_chain" not in migrate("--include-chain-in-response=false").stdout
    assert "# rejections" not in migrate("--rejections", "rfc3161").stdout


def test_what_is_commented_out_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = migrate().stdout
    lines = [line.removeprefix("# ") if " = " in line else line for line in text.splitlines()]
    found = settings(tmp_path, "\n".join(lines), monkeypatch)
    assert found["server"]["rejections"] == "sigstore"
    assert found["metrics"]["host"] == "0.0.0.0"
    assert (found["clock"]["monitors"], found["clock"]["on_failure"]) == (["ntp"], "warn")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.yaml"], "nothing.yaml: the configuration file cannot be read: No such file"),
        (["a.yaml", "b.yaml"], "one FILE is read, not 2"),
        (["ours.toml"], "ours.toml: this is a tsa.toml already"),
        (["--scheme", "https"], "schemes has https, which needs tls_certificate and tls_key"),
        (["--timestamp-signer", "kms"], "--timestamp-signer kms needs --kms-key-resource"),
    ],
)
def test_what_cannot_be_migrated_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "ours.toml").write_text('[profiles.default]\nsigner = "memory:"\n')
    done = migrate(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = [line for line in done.stderr.splitlines() if line.startswith("timestamp-server: error: ")]
    assert said in line
