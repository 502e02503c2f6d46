"""timestamp-server as operators type it: real processes, exit codes, one line for each mistake."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tsa_backends.commands import run_command
from tsa_core import __version__

pytestmark = pytest.mark.plugin("memory", "file")


def run(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, cwd=cwd, environ=variables)


def errors(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines on stderr that say what is wrong; nothing else may be there."""
    assert "Traceback" not in result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith("timestamp-server: error: ")]


def test_version_is_readable_and_json() -> None:
    assert run("version").stdout.startswith("tsa-core: ")
    document = json.loads(run("version", "--json").stdout)
    assert {"tsa-core", "python", "openssl", "system"} <= set(document)
    # These are what the reference prints (sigs.k8s.io/release-utils/version).
    assert list(document)[:7] == [
        *("gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform")
    ]
    assert document["gitVersion"] == f"v{__version__}"
    assert re.fullmatch(r"[a-z]+/[a-z0-9_]+", document["platform"])
    assert document["goVersion"] == f"python{document['python']}"


def test_check_prints_what_it_found() -> None:
    result = run("check", "--json")
    document = json.loads(result.stdout)
    assert result.returncode == 0
    assert document["profiles"][0]["trial signature"].startswith("verified")
    assert all(line["healthy"] for line in document["checks"])
    assert "Nobody should trust" in " ".join(result.stderr.split())


def test_check_warns_of_times_that_sigstore_js_refuses() -> None:
    assert "sigstore-js" not in run("check").stderr
    for digits in ("3", "6"):
        result = run("check", TSA_PROFILES__DEFAULT__SIGNER="memory:", TSA_PROFILES__DEFAULT__FRACTION_DIGITS=digits)
        assert result.returncode == 0
        said = " ".join(result.stderr.split())
        assert f"WARNING: profiles.default.fraction_digits = {digits}: sigstore-js reads whole seconds" in said


def test_a_missing_configuration_file(tmp_path: Path) -> None:
    result = run("serve", "--config", "nope.toml", cwd=tmp_path)
    assert result.returncode == 2
    [line] = errors(result)
    assert line.startswith("timestamp-server: error: nope.toml: the configuration file cannot be read: No such file")
    assert line.endswith(f"; it was looked for in {tmp_path}")


def test_a_missing_configuration_file_by_variable(tmp_path: Path) -> None:
    result = run("serve", cwd=tmp_path, TSA_CONFIG="nope.toml")
    assert result.returncode == 2
    assert len(errors(result)) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--bogus"], "No such option"),
        (["--port", "70000"], "--port"),
        (["--timestamp-signer", "kms"], "--timestamp-signer kms needs --kms-key-resource"),
        (["--timestamp-signer", "file"], "--timestamp-signer file needs --file-signer-key-path"),
        (["--timestamp-signer", "memory", "--kms-key-resource", "x:y"], "goes with --timestamp-signer kms"),
        (["--timestamp-signer", "tink"], "--timestamp-signer tink needs --tink-keyset-path"),
        (["--timestamp-signer", "file", "--tink-keyset-path", "k.cfg"], "goes with --timestamp-signer tink, not file"),
        (["--timestamp-signer", "kms", "--tink-key-resource", "x:"], "goes with --timestamp-signer tink, not kms"),
        (
            ["--kms-key-resource", "x:y", "--tink-hcvault-token", "hunter2"],
            "goes with --timestamp-signer tink, not kms",
        ),
        (["--kms-key-resource", "x:y", "--tink-keyset-path", "k.cfg"], "name 2 keys; give one"),
        (["--kms-key-resource", "nosuch://key"], "no signer 'nosuch' is installed"),
        (["--file-signer-key-path", "nope.pem"], "nope.pem: the private key cannot be read"),
        (["--accepted-policy-oids", "1.2.x"], "not an object identifier"),
        (["--default-policy-oid", "1.2.x"], "not an object identifier"),
        (["--graceful-timeout", "soon"], "not a duration"),
        (["--use-http-201=maybe"], "neither true nor false"),
    ],
)
def test_each_mistake_on_the_command_line_is_one_line(tmp_path: Path, arguments: list[str], expected: str) -> None:
    result = run("serve", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert len(errors(result)) == 1
    assert expected in errors(result)[0]


def test_a_host_that_cannot_be_resolved_is_one_line() -> None:
    result = run("serve", "--timestamp-signer-hash", "sha512", "--timestamp-signer", "memory", "--host", "256.1.1.1")
    assert result.returncode in {2, 75}  # the resolver decides whether it may be asked again
    assert len(errors(result)) == 1
    assert "256.1.1.1" in errors(result)[0]


def test_an_unknown_setting_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "tsa.toml").write_text('[profiles.default]\nsigner = "memory:"\n[server]\nprot = 1\n')
    result = run("serve", "--config", "tsa.toml", cwd=tmp_path)
    assert result.returncode == 2
    assert errors(result) == ["timestamp-server: error: tsa.toml: unknown setting server.prot; did you mean 'port'?"]


def test_a_table_of_a_plugin_that_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "tsa.toml").write_text('[profiles.default]\nsigner = "memory:"\n[signer.memroy]\nx = 1\n')
    result = run("check", "--config", "tsa.toml", cwd=tmp_path)
    assert result.returncode == 2
    assert "[signer.memroy] is the table of a plugin that is not installed" in errors(result)[0]


def test_a_password_on_the_command_line_is_warned_about_and_never_shown(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
    result = run("serve", "--file-signer-key-path", str(key), "--file-signer-passwd", "hunter2-hunter2")
    assert result.returncode == 2
    assert "ps" in result.stderr
    assert "hunter2" not in result.stderr + result.stdout


@pytest.mark.parametrize("command", [[], ["serve"], ["check"], ["plugins"], ["plugins", "list"], ["version"]])
def test_every_command_has_help(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: ")


def test_an_unknown_command_is_a_usage_error() -> None:
    result = run("sreve")
    assert result.returncode == 2
    assert len(errors(result)) == 1


def test_a_plugin_without_a_command_is_no_command() -> None:
    assert run("memory").returncode == 2
