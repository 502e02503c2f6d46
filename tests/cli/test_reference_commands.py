"""Every command and flag of the reference system's programs is here, under its name and with its kind of value.

`reference_commands.json` is generated from the reference's own programs (tests/interop/reference_commands.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from tsa_core.cli.certificate_maker import certificate_maker
from tsa_core.cli.fetch_tsa_certs import fetch_tsa_certs
from tsa_core.cli.maker_create import create
from tsa_core.cli.server_group import server
from tsa_core.cli.timestamp.group import cli

PROGRAMS: dict[str, click.Command] = {
    "timestamp-server": server,
    "timestamp-cli": cli,
    "fetch-tsa-certs": fetch_tsa_certs,
    "certificate-maker": certificate_maker,
}
COMMANDS: dict[str, dict[str, dict[str, str]]] = json.loads(
    Path(__file__).with_name("reference_commands.json").read_text()
)["commands"]
SAMPLES = {"duration": "1m30s", "int": "1", "uint": "1", "file": "artifact", "oid": "1.2.3", "string": "text"}
"""A value of each of the reference's types, for flags without a default."""
OWN_SAMPLES = {"--config": "/dev/null", "--timestamp-signer": "kms", "--nonce": "5"}
READ_BY_PLUGINS = frozenset({"AWS_REGION", "AZURE_TENANT_ID", "VAULT_ADDR", "VAULT_NAMESPACE", "VAULT_TOKEN"})
"""Variables that the signers read, below their tables."""

FLAGS = [
    pytest.param(command, flag, described, id=f"{command} {flag}")
    for command, flags in COMMANDS.items()
    for flag, described in flags.items()
]


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that the words name, and those left over, which are its arguments."""
    command, rest = PROGRAMS[words[0]], words[1:]
    while rest and isinstance(command, click.Group):
        found = command.get_command(click.Context(command, info_name=words[0]), rest[0])
        assert found is not None, f"there is no command {' '.join(words)}"
        command, rest = found, rest[1:]
    return command, rest


def sample(flag: str, described: dict[str, str]) -> str:
    default = described.get("default", "")
    if default and not default.startswith("is "):
        return default.strip('"[]')
    return OWN_SAMPLES.get(flag) or SAMPLES[described["type"]]


def parsed(command: click.Command, *arguments: str) -> Any:
    """Parse as the program would, but for what is missing or does not exist."""
    return command.make_context("program", list(arguments), resilient_parsing=True)


def has(command: click.Command, flag: str) -> bool:
    return any(flag in parameter.opts for parameter in command.params)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_here(command: str) -> None:
    _, rest = resolve(command.split())
    assert not rest or "completion" in command


@pytest.mark.parametrize(("command", "flag", "described"), FLAGS)
def test_every_flag_is_here_and_takes_its_kind_of_value(command: str, flag: str, described: dict[str, str]) -> None:
    found, rest = resolve(command.split())
    if command == "timestamp-server":
        # There, the server's flags belong to every command and to none.
        found, _ = resolve(["timestamp-server", "serve"])
    assert has(found, flag)
    [parameter] = [each for each in found.params if flag in each.opts]
    assert isinstance(parameter, click.Option)
    value = sample(flag, described) if described["type"] != "bool" else "true"
    written = [flag] if parameter.is_flag else [f"{flag}={value}"]
    assert parameter.name is not None
    given = parsed(found, *rest, *written).params[parameter.name]
    assert given not in {None, ()}
    if described["type"] == "bool":
        assert given is True
        assert parameter.name in parsed(found, *rest, flag).params
    else:
        assert parsed(found, *rest, flag, value).params[parameter.name] == given


@pytest.mark.parametrize(("flag", "described"), COMMANDS["certificate-maker create"].items())
def test_the_certificate_makers_variables_are_read(flag: str, described: dict[str, str]) -> None:
    [parameter] = [each for each in create.params if flag in each.opts]
    read = {parameter.envvar} if isinstance(parameter.envvar, str) else set(parameter.envvar or ())
    if described.get("variable") in READ_BY_PLUGINS:
        assert not read
    else:
        # Without a variable of its own, the reference reads the one that is called as the flag.
        assert {described.get("variable"), flag.removeprefix("--").replace("-", "_").upper()} - {None} <= read


def test_a_flag_that_is_not_there_is_told_apart() -> None:
    found, _ = resolve(["timestamp-server", "serve"])
    assert not has(found, "--no-such-flag")
    with pytest.raises(AssertionError, match="there is no command timestamp-server nix"):
        resolve(["timestamp-server", "nix"])


@pytest.mark.parametrize("flag", COMMANDS["fetch-tsa-certs"])
def test_fetch_tsa_certs_takes_one_dash_or_two(flag: str) -> None:
    assert has(fetch_tsa_certs, flag)
    assert has(fetch_tsa_certs, f"-{flag}")
    text = fetch_tsa_certs.get_help(click.Context(fetch_tsa_certs, info_name="fetch-tsa-certs"))
    assert f"-{flag}" in text
    assert f" {flag}" not in text
