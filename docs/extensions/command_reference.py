"""The directive `command-reference`: a command and those below it, from their own definitions.

It makes what `--help` prints, with the same groups of flags. sphinx-click reads help texts as reStructuredText, which
ours are not, and knows no groups (decision 219).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

# Imported here, before autodoc imports with TYPE_CHECKING set, under which pydantic cannot make its models.
import tsa_core.cli.check
import tsa_core.testing  # noqa: F401 - for the comment above alone

Records = list[tuple[str, str]]


class Sections(click.HelpFormatter):
    """Collects the sections of a help text that definitions stand in, as `format_options` writes them."""

    def __init__(self) -> None:
        super().__init__(width=1000)
        self.found: list[tuple[str, Records]] = []
        self._heading = ""

    def write_heading(self, heading: str) -> None:
        """Remember which section begins."""
        self._heading = heading

    def write_dl(self, rows: Any, *_: Any, **__: Any) -> None:
        """Take a section's rows."""
        if found := list(rows):
            self.found.append((self._heading, found))


class CommandReference(SphinxDirective):
    """`.. command-reference:: module:command` with the program's name as content."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return a section for the command and, inside it, one for each command below it."""
        module, _, name = self.arguments[0].partition(":")
        command = getattr(importlib.import_module(module), name)
        return [self._section(command, self.content[0].strip(), None)]

    def _section(self, command: click.Command, name: str, parent: click.Context | None) -> nodes.section:
        context = click.Context(command, info_name=name.rsplit(maxsplit=1)[-1] if parent else name, parent=parent)
        identity = nodes.make_id(name)
        section = nodes.section(ids=[identity], names=[identity])
        section += nodes.title(name, name)
        usage = " ".join(command.collect_usage_pieces(context))
        section += literal(f"{name} {usage}".strip())
        section += list(paragraphs(command.help or ""))
        for heading, records in option_sections(command, context):
            section += nodes.rubric(heading, heading)
            section += definitions(records)
        section += list(paragraphs(command.epilog or ""))
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                below = command.get_command(context, each)
                if below is not None and not below.hidden:
                    section += self._section(below, f"{name} {each}", context)
        return section


def option_sections(command: click.Command, context: click.Context) -> Iterator[tuple[str, Records]]:
    """Yield each group of options with the records that click itself makes; a group's list of commands is left out."""
    sections = Sections()
    # click.Group.format_options writes the commands too, and the group's own pages have them.
    options = click.Command.format_options if isinstance(command, click.Group) else type(command).format_options
    options(command, context, sections)
    yield from sections.found


def paragraphs(text: str) -> Iterator[nodes.Node]:
    """Yield a help text's paragraphs; those that click is told to leave as they are become literal blocks."""
    for part in inspect.cleandoc(text).split("\n\n"):
        lines = part.strip("\n").splitlines()
        if lines and lines[0].strip() == "\b":
            yield literal("\n".join(lines[1:]))
        elif lines:
            yield nodes.paragraph("", "", *inline(" ".join(line.strip() for line in lines)))


def inline(text: str) -> Iterator[nodes.Node]:
    """Yield text, with what stands in backquotes as code."""
    for number, part in enumerate(text.split("`")):
        if part:
            yield nodes.literal(part, part) if number % 2 else nodes.Text(part)


def literal(text: str) -> nodes.literal_block:
    """Return a block of shell."""
    return nodes.literal_block(text, text, language="text")


def definitions(records: Records) -> nodes.definition_list:
    """Return flags and what they mean."""
    listed = nodes.definition_list(classes=["flags"])
    for flags, meaning in records:
        item = nodes.definition_list_item()
        item += nodes.term("", "", nodes.literal(flags, flags))
        item += nodes.definition("", nodes.paragraph("", "", *inline(" ".join(meaning.split()))))
        listed += item
    return listed


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("command-reference", CommandReference)
    return {"parallel_read_safe": True}
