"""Reads the templates of the statements, which are package data: a small part of Markdown with directives.

A block is separated from the next by an empty line. Headings begin with `#`, lines of lists with `- `. A block
`{{table NAME}}` is a table of the facts, `{{gap KEY: QUESTION}}` what only the authority knows; `{{NAME}}` within a
text is a fact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Final, Literal, TypeAlias

from tsa_core.documents.blocks import GAP, Block, Document, Gap, Heading, Items, Paragraph, Table

Statement: TypeAlias = Literal["practice", "disclosure"]
STATEMENTS: Final[tuple[Statement, ...]] = ("practice", "disclosure")
_TABLE: Final = re.compile(r"\{\{table ([a-z_]+)\}\}")
_GAP: Final = re.compile(r"\{\{gap ([a-z_]+): (.+)\}\}")
_FACT: Final = re.compile(r"\{\{([a-z_]+)\}\}")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the templates may name: texts, and tables with the sentence that stands before them.

    `unknown` has a question for each text that the configuration does not tell, by the text's name.
    """

    texts: Mapping[str, str]
    tables: Mapping[str, tuple[str, Table]]
    unknown: Mapping[str, str] = field(default_factory=dict)


def template_text(kind: Statement) -> str:
    """Return the template of a statement."""
    return files(__package__).joinpath("templates", f"{kind}.md").read_text("utf-8")


def gaps_of(template: str, facts: Facts) -> dict[str, str]:
    """Return what the authority has to say itself: the questions, each once, in the template's order, by their keys."""
    found: dict[str, str] = {}
    for match in re.finditer(f"{_GAP.pattern}|{_FACT.pattern}", template):
        key = match[1] or match[3]
        question = match[2] or facts.unknown.get(key)
        if question is not None:
            found.setdefault(key, question)
    return found


def fill(template: str, facts: Facts, answers: Mapping[str, str]) -> Document:
    """Return the document; a gap that has an answer is the answer's paragraphs.

    Raises KeyError for a fact that there is not: a mistake in the template.
    """
    title, _, body = template.strip().partition("\n\n")
    blocks = [block for text in body.split("\n\n") for block in _blocks(text, facts, answers)]
    return Document(title=_with_facts(title.removeprefix("# "), facts, answers), blocks=blocks)


def _blocks(text: str, facts: Facts, answers: Mapping[str, str]) -> Iterator[Block]:
    if found := _TABLE.fullmatch(text):
        before, table = facts.tables[found[1]]
        yield Paragraph(text=before)
        yield table
    elif found := _GAP.fullmatch(text):
        yield from _gap(found[1], found[2], answers)
    elif (found := _FACT.fullmatch(text)) and found[1] in facts.unknown:
        yield from _gap(found[1], facts.unknown[found[1]], answers)
    elif text.startswith("#"):
        marks, _, title = text.partition(" ")
        yield Heading(level=len(marks), text=_with_facts(title, facts, answers))
    elif text.startswith("- "):
        yield Items(texts=[_with_facts(line.removeprefix("- "), facts, answers) for line in text.split("\n")])
    else:
        yield Paragraph(text=_with_facts(text, facts, answers))


def _gap(key: str, question: str, answers: Mapping[str, str]) -> Iterator[Block]:
    if (answer := answers.get(key)) is None:
        yield Gap(key=key, question=question)
        return
    for text in re.split(r"\n\s*\n", answer.strip()):
        yield Paragraph(text=text)


def _with_facts(text: str, facts: Facts, answers: Mapping[str, str]) -> str:
    def fact(found: re.Match[str]) -> str:
        name = found[1]
        if name in facts.unknown:
            return answers.get(name) or f"[{GAP} {facts.unknown[name]}]"
        return facts.texts[name]

    return _FACT.sub(fact, text)
