"""The documentation of the probe says what the tables say."""

from __future__ import annotations

import re

from tests.interop.matrix import PAGE as CLIENTS_PAGE
from tests.probe.check_table import table, written
from tsa_core.cli.timestamp import probe as command
from tsa_core.probe import CHECKS, GRADES, STANDARDS
from tsa_core.probe.clients import CLIENTS, KEYS


def test_the_table_of_checks_is_the_table_in_the_code() -> None:
    assert written() == table(), "python -m tests.probe.check_table --write"


def test_every_client_has_the_keys_of_the_table_that_tests_make() -> None:
    lines = [line for line in CLIENTS_PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    head, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert tuple(head[2:]) == KEYS
    documented = {
        re.sub(r" \[\^.*\]", "", row[0]): {key for key, cell in zip(KEYS, row[2:], strict=True) if cell == "yes"}
        for row in rows
    }
    assert {each.name: set(each.keys) for each in CLIENTS if each.name != "NuGet"} == documented


def test_checks_say_what_they_are_about() -> None:
    for each in CHECKS:
        assert each.needs, each.id
        assert all(re.fullmatch(r"[SCV]\d{1,2}", rule) for rule in each.rules), each.id
        assert each.meaning.endswith("."), each.id
        assert not each.title.endswith("."), each.id


def test_the_command_knows_the_grades_and_the_standards() -> None:
    assert command._GRADES == GRADES
    assert command._STANDARDS == STANDARDS
