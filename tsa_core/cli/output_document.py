"""Puts a document where the flags --format and --output say."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tsa_core.cli import console
from tsa_core.cli.output_file import write_file
from tsa_core.documents.blocks import Document
from tsa_core.documents.html import to_html
from tsa_core.documents.markdown import to_markdown

FORMATS: Final = ("markdown", "html")


def document_text(document: Document, form: str) -> str:
    """Return the document in one of FORMATS."""
    return to_html(document) if form == "html" else to_markdown(document)


def put_out(text: str, output: Path | None) -> None:
    """Write a text to a file, whole or not at all, else to stdout; raises ConfigError."""
    if output is None:
        console.echo(text.removesuffix("\n"))
    else:
        write_file(output, text.encode("utf-8"), mode=0o644)
