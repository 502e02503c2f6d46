"""A flag that takes one value is given once, as one of two would be ignored; and no value is empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.cli.timestamp_shell import Shell
from tsa_backends.commands import run_command
from tsa_core.cli.boolean_flag import BooleanFlag
from tsa_core.cli.fetch_tsa_certs import fetch_tsa_certs
from tsa_core.cli.program_group import all_commands
from tsa_core.cli.server_group import server
from tsa_core.cli.strict_flags import read_strictly
from tsa_core.cli.timestamp.group import cli


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in all_commands(command).items():
            yield from commands(inner, (*path, name))


SECRETS = {"--file-signer-passwd", "--tink-hcvault-token", "--vault-token"}
OPTIONS = [
    (f"{name} {' '.join(path)} {option.opts[0]}", program, path, option)
    for name, program in (("server", server), ("cli", cli), ("fetch", fetch_tsa_certs))
    for path, command in commands(program)
    for option in command.params
    if isinstance(option, click.Option) and not option.is_flag
]
SINGLE = [
    pytest.param(program, path, option, id=name) for name, program, path, option in OPTIONS if not option.multiple
]
VALUED = [
    pytest.param(program, path, option, id=name)
    for name, program, path, option in OPTIONS
    if not isinstance(option, BooleanFlag) and option.opts[0] not in SECRETS
]


@pytest.mark.parametrize(("program", "path", "option"), SINGLE)
def test_every_single_valued_flag_is_refused_when_it_stands_twice(
    program: click.Command, path: tuple[str, ...], option: click.Option
) -> None:
    twice = [f"{option.opts[0]}=1", f"{option.opts[-1]}=2"]
    result = CliRunner().invoke(read_strictly(program), [*path, *twice])
    assert result.exit_code == 2
    assert f"{option.opts[0]} is given 2 times but takes one value; give it once" in result.output


@pytest.mark.parametrize(("program", "path", "option"), VALUED)
def test_no_flag_has_an_empty_value(program: click.Command, path: tuple[str, ...], option: click.Option) -> None:
    result = CliRunner().invoke(read_strictly(program), [*path, f"{option.opts[0]}="])
    assert result.exit_code == 2
    assert f"{option.opts[0]} has an empty value" in result.output


@pytest.mark.parametrize("flags", [["--kms-key-resource", ""], ["--host", "::1", "--host", " "]], ids=" ".join)
def test_a_key_that_no_variable_names_is_none_that_is_made_at_start(flags: list[str]) -> None:
    refused = run_command("check", *flags)
    assert refused.returncode == 2
    assert f"{flags[0]} has an empty value" in refused.stderr


def test_a_file_of_sigstores_server_neither(tmp_path: Path) -> None:
    (tmp_path / "server.yaml").write_text("timestamp-signer: memory\nntp-monitoring: ''\n")
    refused = run_command("check", "--config", tmp_path / "server.yaml")
    assert refused.returncode == 2
    assert "server.yaml: ntp-monitoring: --ntp-monitoring has an empty value" in refused.stderr


def test_an_empty_password_is_none() -> None:
    assert "has an empty value" not in run_command("check", "--file-signer-passwd", "").stderr


def test_two_artifacts_are_not_one_verdict(shell: Shell, reply: str) -> None:
    Path("b.txt").write_bytes(b"hell0")
    arguments = ("verify", "--timestamp", reply, "--certificate-chain", "chain.pem", "--artifact", "b.txt")
    assert "--artifact is given 2 times" in shell.fails(2, *arguments, "--artifact", "a.txt")
    shell.fails(2, *arguments[:-2], "--artifact", "a.txt", "--timestamp", reply)


def test_a_flag_before_and_after_the_commands_name(shell: Shell, reply: str) -> None:
    arguments = ("verify", "--artifact", "a.txt", "--timestamp", reply, "--certificate-chain", "chain.pem")
    assert shell("--format", "json", *arguments).out.startswith("{")
    assert "before and after" in shell.fails(2, "--format", "json", *arguments, "--format", "default")


def test_a_repeatable_flag_before_and_after_adds_up(shell: Shell) -> None:
    from tests.cli.timestamp_shell import honest
    from tsa_core.testing.http_tsa import HttpTsa

    with HttpTsa(honest) as one, HttpTsa(honest) as two:
        arguments = ("timestamp", "--artifact", "a.txt", "--timestamp_server", two.url)
        assert shell("--timestamp_server", one.url, *arguments).code == 0
        assert (len(one.received), len(two.received)) == (1, 1)


def test_a_switch_without_a_value_may_stand_twice(shell: Shell) -> None:
    assert shell("version", "--json", "--json").code == 0
