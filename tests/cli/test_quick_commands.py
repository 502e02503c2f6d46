"""The usual command line of timestamp-cli is read without click, and means what it means to click."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from tests.cli.timestamp_shell import Shell
from tsa_core.cli.program_group import all_commands
from tsa_core.cli.timestamp import inspect, stamp, verify
from tsa_core.cli.timestamp.flags import COMMON, Call, Flag
from tsa_core.cli.timestamp.group import cli
from tsa_core.cli.timestamp.options import click_command
from tsa_core.cli.timestamp.quick import HOME_FILES, may_be_quick, quick_call, split_command

COMMANDS = {"timestamp": stamp.FLAGS, "verify": verify.FLAGS, "inspect": inspect.FLAGS}
VALUES = ("a.txt", "1", "3s", "0x10", "json", "path", "true", "", "-1", "-", "--", "by-date", "http://a", "2026-01-31")


def quick(words: list[str]) -> Call | None:
    found = split_command(words)
    return quick_call(found[0], COMMANDS[found[1]]) if found is not None and found[1] in COMMANDS else None


def by_click(words: list[str]) -> Call | None:
    """Return the call as click reads it; None when it refuses the words."""
    calls: list[Call] = []
    for name, flags in COMMANDS.items():
        cli.add_command(click_command(name, calls.append, flags))
    try:
        cli.main(args=words, prog_name="timestamp-cli", standalone_mode=False)
    except click.ClickException:
        return None
    return calls[0] if calls else None


@pytest.fixture(autouse=True)
def alone(shell: Shell) -> Iterator[None]:
    """No variable and no file of the test's user gives flags; the commands are there again afterwards."""
    before = dict(cli.commands)
    yield
    cli.commands.clear()
    cli.commands.update(before)


def meaning(call: Call) -> tuple[dict[str, Any], dict[str, Any], bool]:
    common = {flag.name: call.common(flag.name) for flag in COMMON}
    return dict(call.flags), common, call.names_server


def some_words(chance: random.Random) -> list[str]:
    """Return a command line, most of them right: flags of the command or before it, values that may fit or not."""

    def given(flags: tuple[Flag, ...]) -> Iterator[str]:
        for flag in chance.sample(flags, min(len(flags), chance.randrange(4))):
            value = chance.choice(flag.choices or VALUES)
            spelling = chance.choice(flag.spellings)
            if flag.boolean:
                yield chance.choice((spelling, f"{spelling}={chance.choice(('true', 'false', 'F', 'no'))}"))
            elif chance.random() < 0.5:
                yield f"{spelling}={value}"
            else:
                yield from (spelling, value)

    name = chance.choice(list(COMMANDS))
    required = ["--timestamp", "r.tsr"] if name == "inspect" else []
    return [*given(tuple(COMMON)), name, *required, *given((*COMMANDS[name], *COMMON))]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_read_quickly_means_the_same_to_click(seed: int) -> None:
    chance = random.Random(seed)
    read = 0
    for _ in range(25):
        words = some_words(chance)
        if (call := quick(words)) is not None:
            read += 1
            other = by_click(words)
            assert other is not None, words
            assert meaning(call) == meaning(other), words
    assert read, "some are read quickly"


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "--help"],
        ["verify", "-h"],
        ["--version"],
        [],
        ["version"],
        ["inspect"],
        ["verify", "--artifact", "a", "--artifact", "b"],
        ["verify", "--artifac", "a"],
        ["verify", "--artifact"],
        ["verify", "--artifact", "--timestamp"],
        ["verify", "--artifact="],
        ["verify", "--nonce", "x"],
        ["verify", "--algorithms", "lax"],
        ["verify", "--fetch-crls=maybe"],
        ["timestamp", "--retries", "101"],
        ["timestamp", "--retries", "-1"],
        ["timestamp", "a.txt"],
        ["timestamp", "--config", "c.toml"],
        ["--config", "c.toml", "timestamp"],
        ["--format", "json", "verify", "--format", "json"],
    ],
)
def test_what_is_unusual_is_left_to_click(words: list[str]) -> None:
    assert quick(words) is None


def test_variables_and_files_are_left_to_click(tmp_path: Path) -> None:
    assert may_be_quick({"PATH": "/bin", "HOME": str(tmp_path)})
    for name in ("TIMESTAMP_FORMAT", "TSA_URL", "_TIMESTAMP_CLI_COMPLETE"):
        assert not may_be_quick({name: "x"})
    for name in HOME_FILES:
        Path(tmp_path, name).touch()
        assert not may_be_quick({"HOME": str(tmp_path)})
        Path(tmp_path, name).unlink()


def test_every_flag_is_in_the_help(shell: Shell) -> None:
    for name, flags in COMMANDS.items():
        text = shell("help", name).out
        assert all(flag.spellings[0] in text for flag in (*flags, *COMMON))
    assert set(all_commands(cli)) >= {*COMMANDS, "help", "completion", "version"}
    assert os.environ.get("TIMESTAMP_FORMAT") is None
