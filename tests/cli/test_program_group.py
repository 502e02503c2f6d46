"""`help`, `completion`, `--version`, and flags in front of a command, as the reference system's users type them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.cli.timestamp_shell import Shell
from tsa_backends.commands import run_command
from tsa_core import __version__
from tsa_core.cli.program_group import LazyGroup, all_commands, flags_after_the_command
from tsa_core.cli.server_group import server
from tsa_core.cli.timestamp.group import cli
from tsa_core.host import PluginHost
from tsa_core.testing import require_program

FLAGS = {"--port": True, "--http-ping-only": False, "--log-type": True}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--port 0 serve", "serve --port 0"),
        ("--port=0 --http-ping-only serve --log-type prod", "serve --port=0 --http-ping-only --log-type prod"),
        ("--http-ping-only=false --log-type serve check", "check --http-ping-only=false --log-type serve"),
        ("serve --port 0", "serve --port 0"),
        ("--bogus 1 serve", "--bogus 1 serve"),
        ("--port 0 --bogus serve", "--port 0 --bogus serve"),
        ("--port", "--port"),
        ("--port 0", "--port 0"),
        ("-h serve", "-h serve"),
        ("", ""),
    ],
)
def test_flags_before_the_command_are_moved_behind_it(arguments: str, expected: str) -> None:
    assert " ".join(flags_after_the_command(arguments.split(), FLAGS)) == expected


@pytest.mark.plugin("memory")
def test_the_servers_flags_may_stand_before_the_command() -> None:
    done = run_command("--log_type", "prod", "--timestamp-signer=memory", "--port", "0", "check", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["profiles"][0]["signer"] == "memory"


def test_a_flag_on_both_sides_is_refused_once() -> None:
    done = run_command("--port", "0", "serve", "--port", "1")
    assert done.returncode == 2
    assert "--port is given 2 times but takes one value" in done.stderr


def test_a_flag_before_a_command_that_lacks_it_is_refused() -> None:
    done = run_command("--port", "0", "version")
    assert done.returncode == 2
    assert "No such option '--port'" in done.stderr


@pytest.mark.parametrize("program", ["timestamp-server", "fetch-tsa-certs"])
def test_version_is_one_line(program: str) -> None:
    assert run_command("--version", program=program).stdout == f"{program} {__version__}\n"


def test_version_of_the_client(shell: Shell) -> None:
    assert shell("--version").out == f"timestamp-cli {__version__}\n"


@pytest.mark.parametrize("words", [[], ["serve"], ["plugins", "list"]])
def test_help_is_what_the_flag_shows(words: list[str]) -> None:
    assert run_command("help", *words).stdout == run_command(*words, "--help").stdout != ""


def test_help_of_the_client() -> None:
    # In processes of their own: click keeps the option for help that it made for the first context of a command.
    printed = run_command("help", "verify", program="timestamp-cli").stdout
    assert printed == run_command("verify", "--help", program="timestamp-cli").stdout != ""


def test_the_clients_help_begins_with_what_most_people_want(shell: Shell) -> None:
    commands = [line.split()[0] for line in shell("--help").out.splitlines() if re.match(r"  [a-z]+  ", line)]
    assert commands[:3] == ["timestamp", "verify", "inspect"]
    assert commands[-3:] == ["help", "completion", "version"]


def test_help_of_what_is_not_there() -> None:
    done = run_command("help", "serve", "nix")
    assert done.returncode == 2
    assert "there is no command 'serve nix'" in done.stderr


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_names_the_program(shell_name: str) -> None:
    done = run_command("completion", shell_name)
    assert done.returncode == 0
    assert f"_TIMESTAMP_SERVER_COMPLETE={shell_name}_complete" in done.stdout
    assert "timestamp-server" in done.stdout


def test_powershell_is_told_type_value_and_description() -> None:
    """No PowerShell runs here: what its script asks is answered, and the script names what it is answered by."""
    script = run_command("completion", "powershell").stdout
    assert "-CommandName 'timestamp-server'" in script
    assert "$env:_TIMESTAMP_SERVER_COMPLETE = 'powershell_complete'" in script
    assert "%" not in script
    asked = [
        (
            "timestamp-server\nserve\n--tls-read",
            "--tls-read",
            ["plain\t--tls-read-timeout\tAs --read-timeout, for https  [as"],
        ),
        ("timestamp-server\nserve\n--log-type", "", ["plain\tdev\tdev", "plain\tprod\tprod"]),
        ("timestamp-server\nserve\n--log-type\npr", "pr", ["plain\tprod\tprod"]),
        ("timestamp-server\nserve\n--config", "", ["file\t\t_"]),
        ("timestamp-server\nplugins\nl", "l", ["plain\tlist\t"]),
    ]
    for words, incomplete, expected in asked:
        variables = {"COMP_WORDS": words, **({"COMP_CWORD": incomplete} if incomplete else {})}
        done = run_command(environ={**variables, "_TIMESTAMP_SERVER_COMPLETE": "powershell_complete"})
        lines = done.stdout.splitlines()
        assert len(lines) == len(expected), done
        for line, start in zip(lines, expected, strict=True):
            assert line.startswith(" ".join(start.split("  "))), done.stdout
    assert (
        "$env:_TIMESTAMP_SERVER_COMPLETE = 'powershell-plain_complete'"
        in run_command("completion", "powershell", "--no-descriptions").stdout
    )


@pytest.mark.parametrize("shell_name", ["zsh", "fish"])
def test_completion_without_descriptions(shell_name: str) -> None:
    script = run_command("completion", shell_name, "--no-descriptions").stdout
    assert f"_TIMESTAMP_SERVER_COMPLETE={shell_name}-plain_complete" in script
    words = {"COMP_WORDS": "timestamp-server serve --tls-read", "COMP_CWORD": "2" if shell_name == "zsh" else "--tls-r"}
    for name, expected in ((shell_name, True), (f"{shell_name}-plain", False)):
        done = run_command(environ={**words, "_TIMESTAMP_SERVER_COMPLETE": f"{name}_complete"})
        assert "--tls-read-timeout" in done.stdout
        assert ("--read-timeout]" in done.stdout) is expected


def test_bash_completes_with_the_script(tmp_path: Path) -> None:
    bash = require_program("bash")
    (tmp_path / "script").write_text(run_command("completion", "bash").stdout)
    (tmp_path / "timestamp-server").write_text(f"#!/bin/sh\nexec {sys.executable} -m tsa_core.cli.server\n")
    (tmp_path / "timestamp-server").chmod(0o755)
    typed = (
        "complete() { :; }; . ./script; COMP_WORDS=(timestamp-server serve --tls-read); COMP_CWORD=2; "
        '_timestamp_server_completion timestamp-server; echo "${COMPREPLY[@]}"'
    )
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(
        [bash, "-c", typed], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "--tls-read-timeout\n", done.stderr


@pytest.mark.parametrize("words", [[], ["plugins"], ["config"]])
def test_without_arguments_help_is_shown_once(words: list[str]) -> None:
    bare, asked = run_command(*words), run_command(*words, "--help")
    assert (bare.returncode, bare.stdout, bare.stderr) == (0, asked.stdout, "")
    assert bare.stdout.count("Usage: ") == 1


def test_the_client_without_arguments_shows_help_once(shell: Shell) -> None:
    outcome = shell()
    assert (outcome.code, outcome.out, outcome.err) == (0, shell("--help").out, "")


@pytest.mark.parametrize("group", [server, cli])
def test_the_programs_help_says_what_each_command_says_itself(group: LazyGroup) -> None:
    commands = all_commands(group)
    for name, lazy in group.lazy.items():
        assert commands[name].get_short_help_str(limit=500) == lazy.summary, name


def test_help_of_the_clock_has_the_groups_of_serve() -> None:
    text = run_command("clock", "--help").stdout
    assert text.index("\nOptions:") < text.index("\nKey and certificate:") < text.index("\nClock:")
    assert "--wait SECONDS" in text[: text.index("\nKey and certificate:")]


@pytest.mark.parametrize(("name", "distribution"), [("log", "tsa-log"), ("witness", "tsa-log")])
def test_a_command_without_its_plugin_names_what_brings_it(
    name: str, distribution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PluginHost, "names", lambda _: [])
    for arguments in ([name, "new"], ["help", name]):
        with pytest.raises(click.UsageError) as refused:
            server.main(arguments, standalone_mode=False)
        assert f"no plugin with the command {name!r} is installed; to add it: " in str(refused.value)
        assert distribution in str(refused.value)
    with pytest.raises(click.UsageError, match="No such command 'nope'"):
        server.main(["nope"], standalone_mode=False)
