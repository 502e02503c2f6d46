"""Writes a document as Markdown, which pandoc and others turn into PDF."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tsa_core.documents.blocks import GAP, Bars, Block, Document, Gap, Heading, Items, Paragraph, Table, Timeline
from tsa_core.documents.markup import one_line

_MARKUP: Final = re.compile(r"[\\`*\[\]<>|&#~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LIST_MARK: Final = re.compile(r"^(\d+)([.)])(?= |$)|^([-+=])(?= |=|-|$)")
_SIGNS: Final = {"good": "OK: ", "warning": "**Attention:** ", "plain": ""}


def to_markdown(document: Document) -> str:
    """Return the document as Markdown with the tables of GitHub, in lines that end with a line feed."""
    parts = [f"# {escaped(document.title)}", *(text for block in document.blocks if (text := _block(block)))]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Return a text of which no reader of Markdown makes anything but itself; white space becomes single spaces."""
    shown = _MARKUP.sub(r"\\\g<0>", one_line(text))
    return _LIST_MARK.sub(lambda found: f"{found[1] or ''}\\{found[2] or found[3]}", shown)


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {escaped(block.text)}"
        case Paragraph():
            return f"{_SIGNS[block.tone]}{escaped(block.text)}"
        case Items():
            return "\n".join(f"- {escaped(text)}" for text in block.texts)
        case Gap():
            return f"> **{GAP}** {escaped(block.question)}"
        case Table():
            return "\n".join(_table(block)) if block.rows else escaped(block.nothing)
        case Bars():
            rows = [
                (label, *(str(counts[place]) for counts in block.counts)) for place, label in enumerate(block.labels)
            ]
            table = Table(columns=(block.title, *block.series), rows=rows)
            return "\n".join(_table(table)) if rows else ""
        case Timeline():
            return ""


def _table(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(map(escaped, table.columns))} |"
    yield f"|{'---|' * len(table.columns)}"
    for row in table.rows:
        cells = (_code(cell) if number in table.code else escaped(cell) for number, cell in enumerate(row))
        yield f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    # A backtick or a bar would end the code or the cell, whatever stands before it.
    return f"`{one_line(text)}`" if text and not set(text) & {"`", "|"} else escaped(text)
