"""What the documentation says of messages and proofs is there: in the source, and among the tests."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import click
import pytest

from tests.documentation.shell_blocks import ROOT

DOCS = ROOT / "docs"
SOURCES = [*ROOT.glob("tsa_core/**/*.py"), *ROOT.glob("plugins/*/tsa_*/**/*.py")]


def string_texts() -> str:
    """Return the whole source, with texts that stand there in pieces put together."""
    return re.sub(r'"\s*f?"', "", "\n".join(source.read_text(encoding="utf-8") for source in SOURCES))


def test_every_message_of_the_troubleshooting_page_is_one() -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) > 20
    texts = string_texts()
    assert [message for message in messages if message.strip() not in texts] == []


def test_the_page_of_commands_has_every_program_and_finds_it() -> None:
    page = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    places = dict(re.findall(r"^```\{command-reference\} (\S+)\n(.+)$", page, re.MULTILINE))
    for place in places:
        module, _, name = place.partition(":")
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            assert isinstance(getattr(importlib.import_module(module), name), click.Command), place
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts.keys() <= set(places.values())


@pytest.mark.parametrize("page", [DOCS / "compare.md", ROOT / "README.md"], ids=lambda page: page.name)
def test_every_proof_that_a_page_names_is_a_test(page: Path) -> None:
    proofs = re.findall(r"`((?:tests|plugins|examples|bench)/[\w/.-]+)(?:::(\w+))?`", page.read_text(encoding="utf-8"))
    for file, name in proofs:
        path = ROOT / file
        assert path.is_file(), file
        assert not name or re.search(rf"^ *(?:async )?def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE), (
            name
        )
