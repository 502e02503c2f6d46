"""A variable that nearly names one of ours is warned of, because it is not read."""

from __future__ import annotations

import pytest

from tests.cli.timestamp_shell import Shell
from tsa_core.cli.timestamp.group import cli
from tsa_core.cli.timestamp.variables import known_variables, nearly_named

KNOWN = known_variables(cli)


def test_every_flag_has_a_variable() -> None:
    assert {"TIMESTAMP_TIMESTAMP_SERVER", "TIMESTAMP_CERTIFICATE_CHAIN", "TIMESTAMP_PROOF"} <= KNOWN


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TIMESTAMP_SERVER", "TIMESTAMP_TIMESTAMP_SERVER"),
        ("TSA_URL", "TIMESTAMP_TIMESTAMP_SERVER"),
        ("TSA_TIMESTAMP_SERVER", "TIMESTAMP_TIMESTAMP_SERVER"),
        ("TSA_CERTIFICATE_CHAIN", "TIMESTAMP_CERTIFICATE_CHAIN"),
        ("TIMESTAMP_TIMESTAMP_SERVERS", "TIMESTAMP_TIMESTAMP_SERVER"),
        ("TIMESTAMP_ROOT_CERTIFICATE", "TIMESTAMP_ROOT_CERTIFICATES"),
    ],
)
def test_a_near_name_is_told(name: str, meant: str) -> None:
    assert list(nearly_named([name], KNOWN)) == [(name, meant)]


def test_names_of_others_and_ours_are_not_told() -> None:
    others = ["PATH", "TSA_CONFIG", "TSA_SERVER__PORT", "TSA_TEST_VECTORS", "TIMESTAMP_ZONE_OF_THE_BACKUP"]
    assert list(nearly_named([*others, *KNOWN], KNOWN)) == []


def test_the_warning_is_on_stderr(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMESTAMP_SERVER", "http://127.0.0.1:1")
    outcome = shell("version")
    assert outcome.code == 0
    assert "warning: the variable TIMESTAMP_SERVER is not read; TIMESTAMP_TIMESTAMP_SERVER is" in outcome.err
