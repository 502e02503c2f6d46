"""`timestamp-server plugins list` and `show`: what is installed, readable, and nothing imported to find out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from tsa_backends.commands import run_command
from tsa_core.api import Clock, ConfigPath, Duration, PluginOptions, Provider, Secret, SignerOptions, TextList
from tsa_core.builtin.clock import open_clock
from tsa_core.cli.plugin_settings import describe_settings, type_name
from tsa_core.testing import ServerProcess, encode_request

InstallFake = Callable[..., Path]
BOMB = 'raise RuntimeError("this module was imported")\n'


def run(*arguments: str, site: Path | None = None, status: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": str(site)} if site else {}
    result = run_command(*arguments, environ={**paths, **environ})
    assert result.returncode == status, result.stdout + result.stderr
    return result


def test_listing_imports_no_plugin(fake_plugin: InstallFake) -> None:
    site = fake_plugin("bomb", BOMB)
    assert "bomb\ttsa-signer-bomb\t1.0\tThe plugin bomb\n" in run("plugins", "list", site=site).stdout


@pytest.mark.plugin("auditfile", "archive", "tink")
@pytest.mark.parametrize("arguments", [("--help",), ("serve", "--help"), ("help",)])
def test_help_imports_no_plugin_and_lists_the_commands_of_plugins(
    fake_plugin: InstallFake, arguments: tuple[str, ...]
) -> None:
    site = fake_plugin("bomb", BOMB, command=True)
    fake_plugin("quiet", BOMB)
    program = "from tsa_core.cli.server_group import server\ntry: server(sys.argv[1:])\nfinally: print(*sys.modules)"
    code = f"import sys; {program}"
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    *printed, modules = result.stdout.splitlines()
    assert {name for name in modules.split() if re.match(r"tsa_(?!core)", name)} == set()
    if arguments == ("--help",):
        listed = "\n".join(printed).partition("Commands of plugins:")[2]
        names = re.findall(r"^  ([a-z]+)  ", listed, re.MULTILINE)
        assert names == sorted(names)
        assert set(names) >= {"archive", "bomb", "tink"}
        assert "keys" not in names, "it stands with the core's commands, whose group takes in the plugin's"
        assert "quiet" not in names
        assert "The plugin bomb (tsa-signer-bomb)" in listed


@pytest.mark.plugin("memory")
def test_serving_imports_no_plugin_that_is_not_selected(fake_plugin: InstallFake, tmp_path: Path) -> None:
    site = fake_plugin("bomb", BOMB)
    config = tmp_path / "tsa.toml"
    config.write_text('[profiles.default]\nsigner = "memory:"\n')
    with ServerProcess(config, environ={"PYTHONPATH": str(site)}) as server:
        # PKIStatusInfo of a grant.
        assert bytes.fromhex("3003020100") in server.stamp(encode_request()).body[:16]
        assert "this module was imported" not in server.log


def test_plugin_that_is_selected_and_does_not_import_is_one_line(fake_plugin: InstallFake) -> None:
    result = run("plugins", "show", "bomb", site=fake_plugin("bomb", BOMB), status=2)
    assert result.stderr == (
        "timestamp-server: error: the plugin bomb (tsa-signer-bomb 1.0) could not be imported: RuntimeError: this "
        "module was imported; try: install tsa-signer-bomb again from where it came\n"
    )


def test_list_as_json_has_kinds_and_problems(fake_plugin: InstallFake) -> None:
    fake_plugin("old", BOMB, requires="tsa-core<0.0.5")
    fake_plugin("twice", BOMB, distribution="tsa-clock-twice")
    site = fake_plugin("twice", BOMB, distribution="a-stranger")
    listed = {
        (line["name"], line["distribution"]): line
        for line in json.loads(run("plugins", "list", "--json", site=site).stdout)
    }
    system = listed["system", "tsa-core"]
    assert (system["kind"], system["summary"], system["problem"]) == ("clock", "The operating system's clock", None)
    assert listed["oid", "tsa-core"]["kind"] == "policy"
    assert "needs tsa-core<0.0.5" in listed["old", "tsa-signer-old"]["problem"]
    assert listed["twice", "tsa-clock-twice"]["kind"] == "clock"
    assert listed["twice", "a-stranger"]["kind"] == "?"
    for distribution in ("tsa-clock-twice", "a-stranger"):
        assert "two distributions have this name" in listed["twice", distribution]["problem"]


@pytest.mark.parametrize("width", ["80", "120"])
def test_tables_fit_the_terminal(width: str) -> None:
    # FORCE_COLOR makes rich take the pipe for a terminal.
    for arguments in (("plugins", "list"), ("plugins", "show", "oid")):
        output = run(*arguments, FORCE_COLOR="1", NO_COLOR="1", COLUMNS=width, TERM="xterm").stdout
        lines = re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines()
        assert max(len(line.rstrip()) for line in lines) <= int(width)
    assert "It has no settings." in output
    assert 'selectors = ["oid"]' in output


@pytest.mark.plugin("memory")
def test_show_prints_how_to_select_and_every_setting() -> None:
    output = run("plugins", "show", "memory").stdout
    assert output.startswith("memory  tsa-signer-memory ")
    assert '    [profiles.default]\n    signer = "memory:KEY"\n' in output
    assert "\n[signer.memory]\nalgorithm\t" in output
    assert '"ml-dsa-87" = "ecdsa-p256"\tkind of the key that is made at start\n' in output
    assert "rsa_pss" not in output


@pytest.mark.plugin("memory")
def test_show_as_json() -> None:
    document = json.loads(run("plugins", "show", "memory", "--json").stdout)
    [provided] = document["provides"]
    assert provided["kind"] == "signer"
    assert provided["section"] == "signer.memory"
    assert [setting["name"] for setting in provided["settings"]] == ["algorithm"]
    assert provided["settings"][0]["default"] == '"ecdsa-p256"'


def test_show_describes_every_installed_plugin() -> None:
    names = {plugin["name"] for plugin in json.loads(run("plugins", "list", "--json").stdout) if not plugin["problem"]}
    assert "system" in names
    for name in sorted(names):
        document = json.loads(run("plugins", "show", name, "--json").stdout)
        settings = [setting for provided in document["provides"] for setting in provided["settings"]]
        assert all(setting["type"] and setting["description"] for setting in settings), name


def test_show_of_what_is_not_installed_says_what_is() -> None:
    result = run("plugins", "show", "systen", status=2)
    assert "no plugin 'systen' is installed; did you mean 'system'? installed: " in result.stderr


class Inner(PluginOptions):
    """A table inside."""

    count: int = Field(description="how many")


class Outer(SignerOptions):
    """One of each type."""

    path: ConfigPath = Field(description="a path")
    password: Secret | None = Field(None, description="a secret")
    wait: Duration = Field(timedelta(seconds=1.5), description="a duration")
    names: TextList = Field(default=["a", "b"], description="names")
    flag: bool = Field(False, description="a flag")
    tables: list[Inner] = Field(default_factory=list, description="tables")
    text: str = Field("x" * 30, description="a text")


def test_settings_are_described_in_words() -> None:
    provider = Provider[Clock](name="x", summary="", options=Outer, open=open_clock)
    described = [(s.name, s.value, s.meaning) for s in describe_settings(provider)]
    assert described == [
        ("path", "path, required", "a path"),
        ("password", "secret", "a secret"),
        ("wait", 'duration = "1500ms"', "a duration"),
        ("names", 'list of text = ["a", "b"]', "names"),
        ("flag", "boolean = false", "a flag"),
        ("tables", "list of table", "tables"),
        ("tables.count", "integer, required", "how many"),
        ("text", "text", f'a text; default: "{"x" * 30}"'),
    ]


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (Literal["a", "b"], '"a" | "b"'),
        (Literal["a"] | None, '"a"'),
        (IPv4Network | IPv6Network, "network"),
        (Annotated[int, "anything"], "integer"),
        (dict[str, int], "table"),
        (float, "number"),
        (list[str | int], "list of text | integer"),
        (bytes, "bytes"),
    ],
)
def test_type_names(annotation: Any, name: str) -> None:
    assert type_name(annotation) == name
