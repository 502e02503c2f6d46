"""docs/configure.md lists every setting of the core, each with the default that it really has."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tsa_core.config.load import Settings
from tsa_core.config.models import ProfileSettings
from tsa_core.config.sections import PluginSection, Table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configure.md"
NO_VALUE = (
    "none",
    "as host",
    "follows the key",
    "all but keys in memory",
    "what a browser asked for",
    "as without TLS",
    "over TLS",
    "`15s` or more",
)
"""How the page says that a setting has no value of its own unless one is given."""


def _sections() -> dict[str, type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {"profiles.NAME": ProfileSettings}
    for name, field in Settings.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, (Table, PluginSection)):
            found[name] = model
    return found


SECTIONS = _sections()
SETTINGS = [(section, name) for section, model in SECTIONS.items() for name in model.model_fields]


def _documented() -> dict[tuple[str, str], str]:
    """The default on the page for each (section, setting); a table names its section above it or in each row."""
    found: dict[tuple[str, str], str] = {}
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ").strip("`[]")
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            section = cells.pop(0).strip("`[]") if heading not in SECTIONS else heading
            found[section, cells[0].strip("`")] = cells[1]
    return found


DOCUMENTED = _documented()


def _value(text: str) -> Any:
    """What the text would be in a configuration file, where strings may do without quotes on the page."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def test_the_page_names_every_setting_and_no_other() -> None:
    assert set(DOCUMENTED) == set(SETTINGS)


@pytest.mark.parametrize(("section", "name"), SETTINGS)
def test_the_page_has_the_real_default(section: str, name: str) -> None:
    model = SECTIONS[section]
    required = {"signer": "memory:"} if model is ProfileSettings else {}
    text = DOCUMENTED[section, name]
    if model.model_fields[name].is_required():
        assert text == "required"
        return
    default = getattr(model.model_validate(required), name)
    if default in (None, [], {}):
        assert text in NO_VALUE
        return
    written = re.fullmatch(r"`(.+)`", text)
    assert written, f"{text!r} is no value in backquotes"
    assert getattr(model.model_validate({**required, name: _value(written[1])}), name) == default


def test_no_default_is_made_by_list() -> None:
    # pydantic asks what its factory takes, and of `list` inspect reads that with a tokenizer: 4 ms of every start.
    factories = [field.default_factory for model in SECTIONS.values() for field in model.model_fields.values()]
    assert list not in factories
    assert tuple not in factories
