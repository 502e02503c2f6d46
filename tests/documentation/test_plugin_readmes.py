"""Each plugin's README, its page on the site too, says what an operator must know, with the settings that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documentation.settings_tables import READMES, marked, table
from tsa_core.cli.plugin_settings import describe_settings
from tsa_core.host import KINDS, PluginHost, installed_plugins
from tsa_core.testing import missing

HEADINGS = ("Install", "Settings", "Permissions", "When something is wrong", "Limits")
each_readme = pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.parent.name)


@each_readme
def test_it_has_the_sections_that_all_have(readme: Path) -> None:
    headings = re.findall(r"^## (.+)$", readme.read_text(encoding="utf-8"), re.MULTILINE)
    missing = [name for name in HEADINGS if not any(heading.startswith(name) for heading in headings)]
    assert not missing
    if readme.parent.name.startswith("tsa-signer-"):
        assert "Key URI" in headings


@pytest.fixture(scope="module")
def names() -> dict[str, list[str]]:
    """Return the names of each installed distribution's plugins."""
    found: dict[str, list[str]] = {}
    for name, plugins in installed_plugins().items():
        found.setdefault(plugins[0].distribution, []).append(name)
    return found


@pytest.fixture(scope="module")
def host() -> PluginHost:
    return PluginHost()


@each_readme
def test_its_tables_are_what_the_models_say(readme: Path, host: PluginHost, names: dict[str, list[str]]) -> None:
    """`python -m tests.documentation.settings_tables --write` makes them anew."""
    if readme.parent.name not in names:
        missing(f"{readme.parent.name} is not installed")
    for name, text in marked(readme):
        assert text == table(host, name), name


@each_readme
def test_every_setting_of_the_plugin_is_in_a_table(readme: Path, host: PluginHost, names: dict[str, list[str]]) -> None:
    documented = {line for _, text in marked(readme) for line in text.splitlines()}
    for name in names.get(readme.parent.name, ()):
        host.load(name)
        for kind in KINDS:
            provider = host.providers(kind).get(name)
            for setting in describe_settings(provider) if provider else ():
                assert any(line.startswith(f"| `{setting.name}` |") for line in documented), f"{name}: {setting.name}"
