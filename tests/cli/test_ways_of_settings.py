"""A setting can be given in three ways. A wrong one is refused in each, in the words of that way."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from tsa_core.api import ConfigError, TsaError
from tsa_core.cli.flag_table import FLAGS
from tsa_core.cli.reference_settings import all_flags, load
from tsa_core.config.load import Settings
from tsa_core.config.models import ProfileSettings

SIGNER = '[profiles.default]\nsigner = "memory:"\n'
WRONG = ("", "x", "0", "-1", "1", "true", "a,a", "http,https", "a\x01b", "99999999999999999999")


def settings() -> Iterator[str]:
    """The paths of all settings of the core."""
    for table, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{table}.{name}" for name in field.annotation.model_fields)
    yield from (f"profiles.default.{name}" for name in ProfileSettings.model_fields)


def complaint(config: Path, *flags: str) -> str:
    """What is said of these flags with this file; empty when nothing is wrong."""
    try:
        context = all_flags().make_context("serve", list(flags))
        load({**context.params, "config": config})
    except click.UsageError as error:
        return error.format_message()
    except TsaError as error:
        return str(error)
    return ""


@pytest.fixture
def tsa_toml(tmp_path: Path) -> Path:
    path = tmp_path / "tsa.toml"
    path.write_text(SIGNER)
    return path


def test_a_wrong_variable_is_named(tsa_toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What contradicts another setting was said of the file, which did not have it."""
    unnamed = []
    for setting in settings():
        variable = f"TSA_{setting.replace('.', '__')}".upper()
        for value in WRONG:
            with monkeypatch.context() as one:
                one.setenv(variable, value)
                said = complaint(tsa_toml)
            if said and variable not in said:
                unnamed.append((variable, value, said))
    assert unnamed == []


def test_a_wrong_flag_is_named(tsa_toml: Path) -> None:
    """The settings of `command line: server.read_timeout` are not what was typed."""
    unnamed = []
    for flag in FLAGS:
        for value in WRONG:
            said = complaint(tsa_toml, f"{flag.name}={value}")
            if said and flag.name not in said:
                unnamed.append((flag.name, value, said))
    assert unnamed == []


def test_a_contradiction_in_the_file_is_not_said_of_a_flag_beside_it(tsa_toml: Path) -> None:
    tsa_toml.write_text(f"{SIGNER}[server]\ntls_port = 4443\n")
    assert complaint(tsa_toml, "--port", "3001").startswith(f"{tsa_toml}: server: tls_port has no effect")


def test_what_has_no_effect_in_whole_settings_is_said_of_the_variable(
    tsa_toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TSA_CLOCK__MAX_HOLDOVER", "2h")
    assert complaint(tsa_toml).startswith(
        "environment variable TSA_CLOCK__MAX_HOLDOVER: clock.max_holdover has no effect"
    )


def test_true_is_no_number_in_a_file_either(tsa_toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`port = true` was port 1."""
    accepted = []
    for setting in settings():
        table, _, name = setting.rpartition(".")
        variable = f"TSA_{setting.replace('.', '__')}".upper()
        for word in ("true", "false"):
            with monkeypatch.context() as one:
                one.setenv(variable, word)
                by_variable = complaint(tsa_toml)
            lines = f"{name} = {word}\n"
            text = f"{SIGNER}{lines}" if table == "profiles.default" else f"{SIGNER}[{table}]\n{lines}"
            config = tsa_toml.with_name("other.toml")
            config.write_text(text if name != "signer" else f"[{table}]\n{lines}")
            if "number" in by_variable and "number" not in complaint(config):
                accepted.append((setting, word, by_variable))
    assert accepted == []


def test_a_path_of_a_flag_begins_in_a_home_directory_as_in_a_file(
    tsa_toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    context = all_flags().make_context("serve", ["--pid-file=~/run/tsa.pid"])
    by_flag = load({**context.params, "config": tsa_toml}).settings.server.pid_file
    tsa_toml.write_text(f"{SIGNER}[server]\npid_file = {json.dumps('~/run/tsa.pid')}\n")
    by_file = load({"config": tsa_toml}).settings.server.pid_file
    assert by_flag == by_file == tmp_path / "run" / "tsa.pid"
    assert "is not known here" in complaint(tsa_toml, "--pid-file=~no-such-user-here/tsa.pid")


def test_a_plugin_takes_no_boolean_for_a_number() -> None:
    from tsa_core.api import PluginOptions

    class Limits(PluginOptions):
        most: int | None = None
        share: float = 0.5
        on: bool = False

    assert Limits(on=True).on
    for name in ("most", "share"):
        with pytest.raises(ValueError, match="valid"):
            Limits.model_validate({name: True})


def test_a_command_that_reads_no_reference_settings_names_the_flag(tsa_toml: Path) -> None:
    from tsa_core.cli.settings_flags import flag_names, overrides
    from tsa_core.config import load_settings

    parameters = all_flags().make_context("serve", ["--read-timeout=x"]).params
    with pytest.raises(ConfigError, match=r"^command line: --read-timeout: server.read_timeout: 'x' is not a duration"):
        load_settings(tsa_toml, overrides=overrides(parameters), flag_names=flag_names(parameters))


@pytest.mark.plugin("file")
def test_the_name_of_a_key_file_need_not_be_utf8(tsa_toml: Path, tmp_path: Path) -> None:
    from tsa_signer_file.options import FileOptions
    from tsa_signer_file.signer import key_path

    key = tmp_path / os.fsdecode(b"key-\xff.pem")
    context = all_flags().make_context("serve", [f"--file-signer-key-path={key}"])
    signer = load({**context.params, "config": tsa_toml}).settings.profiles["default"].signer
    assert key_path(FileOptions(uri=signer)) == key
