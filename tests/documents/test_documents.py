"""Documents: neither Markdown nor HTML makes markup of a text."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from tsa_core.documents.blocks import Bars, Document, Gap, Heading, Items, Paragraph, Span, Table, Timeline
from tsa_core.documents.html import to_html
from tsa_core.documents.markdown import escaped, to_markdown

HOSTILE = '<script>alert(1)</script> | `a` **b** [c](javascript:d) "e" & &lt; \x1b[31m\nf'


def document(text: str) -> Document:
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    return Document(
        title=text,
        blocks=[
            Heading(level=2, text=text),
            Paragraph(text=text, tone="warning"),
            Items(texts=[text]),
            Gap(key="k", question=text),
            Table(columns=(text, "2"), rows=[(text, text)], code=frozenset({1})),
            Table(columns=(text,), rows=[], nothing=text),
            Bars(title=text, labels=[text], series=[text, "2"], counts=[[3], [4]]),
            Timeline(title=text, begin=begin, end=end, rows=[(text, [Span(begin=begin, end=end, hint=text)])]),
        ],
    )


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Tags:
    found = Tags()
    found.feed(page)
    return found


def test_no_text_becomes_markup_in_html() -> None:
    hostile, plain = read(to_html(document(HOSTILE))), read(to_html(document("plain")))
    assert hostile.tags == plain.tags
    assert hostile.attributes == plain.attributes
    assert "<script>alert(1)</script> | `a` **b** [c](javascript:d)" in hostile.text
    assert "\x1b" not in to_html(document(HOSTILE))


def test_a_page_loads_and_runs_nothing() -> None:
    page = to_html(document("plain"))
    found = read(page)
    assert not {"script", "link", "img", "iframe", "object", "a"} & set(found.tags)
    assert not [name for name in found.attributes if name.startswith("on") or name in {"src", "href", "style"}]
    assert "default-src 'none'" in page
    assert "url(" not in page


@pytest.mark.package("markdown_it")
def test_no_text_becomes_markup_in_markdown() -> None:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    hostile, plain = (read(reader.render(to_markdown(document(text)))) for text in (HOSTILE, "plain"))
    # A text with a bar cannot be code in a cell; all else is alike.
    assert [tag for tag in hostile.tags if tag != "code"] == [tag for tag in plain.tags if tag != "code"]
    assert hostile.text.count("<script>alert(1)</script> | `a` **b** [c](javascript:d)") == 12


@pytest.mark.parametrize("text", ["1. a", "12) a", "- a", "+ a", "# a", "> a", "=== a", "* a", "_a_", "~~a~~", "| a |"])
def test_a_paragraph_stays_one(text: str) -> None:
    assert escaped(text) != text


@pytest.mark.parametrize("text", ["1.2 Clock", "clock_state", "a - b", "C=DE", "2026-01-01"])
def test_what_is_no_markup_stays_as_it_is(text: str) -> None:
    assert escaped(text) == text


def test_bars_have_their_numbers_in_markdown_and_their_heights_in_html() -> None:
    chart = Document(title="t", blocks=[Bars(title="Month", labels=["01", "02"], series=["a"], counts=[[5, 8]])])
    assert "| 02 | 8 |" in to_markdown(chart)
    page = to_html(chart)
    assert 'height="112.5"' in page  # 5 of 8
    assert 'height="180.0"' in page
