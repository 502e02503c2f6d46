"""The tables of settings in the plugins' READMEs, made from the plugins' own models.

`python -m tests.documentation.settings_tables --write` makes them anew, between the marks that name the provider:

    <!-- settings awskms -->
    <!-- end of settings -->
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.documentation.shell_blocks import ROOT
from tsa_core.cli.plugin_settings import SettingDescription, describe_settings
from tsa_core.host import KINDS, PluginHost

READMES = sorted(ROOT.glob("plugins/*/README.md"))
_MARKED = re.compile(r"<!-- settings (?P<name>[a-z0-9-]+) -->\n(?P<table>.*?)<!-- end of settings -->", re.DOTALL)


def table(host: PluginHost, name: str) -> str:
    """Return the table of a provider's settings, with a line that says where they stand."""
    host.load(name)
    [(kind, provider)] = [(kind, found) for kind in KINDS for found in [host.providers(kind).get(name)] if found]
    lines = [
        f"In `[{kind.table(name)}]`:",
        "",
        "| setting | type | default | meaning |",
        "|---|---|---|---|",
        *(_row(setting) for setting in describe_settings(provider)),
    ]
    return "\n" + "\n".join(lines) + "\n\n"


def _row(setting: SettingDescription) -> str:
    kind = setting.type.replace(" | ", " or ").replace("|", r"\|")
    default = "required" if setting.default is None else f"`{setting.default}`" * bool(setting.default)
    meaning = setting.description.replace("|", r"\|")
    return f"| `{setting.name}` | {kind} | {default} | {meaning} |"


def marked(readme: Path) -> Iterator[tuple[str, str]]:
    """Yield the name of each provider whose table a README has, and the table."""
    for found in _MARKED.finditer(readme.read_text(encoding="utf-8")):
        yield found["name"], found["table"]


def write(readme: Path, host: PluginHost) -> None:
    """Make the tables of a README anew."""
    text = readme.read_text(encoding="utf-8")
    fresh = _MARKED.sub(
        lambda found: f"<!-- settings {found['name']} -->\n{table(host, found['name'])}<!-- end of settings -->", text
    )
    if fresh != text:
        readme.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit(__doc__)
    for each in READMES:
        write(each, PluginHost())
