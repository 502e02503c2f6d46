"""Writes a document as one HTML file: no script, no address of anything else, light and dark."""

from __future__ import annotations

from typing import Final

from tsa_core.documents.blocks import GAP, Bars, Block, Document, Gap, Heading, Items, Paragraph, Table, Timeline
from tsa_core.documents.charts import bars, timeline
from tsa_core.documents.markup import page, shown

_STYLE: Final = """\
:root { color-scheme: light dark; --ground: #ffffff; --text: #1b1f24; --quiet: #57606a; --line: #d0d7de;
  --band: #f3f5f7; --warn: #9a3412; --warn-ground: #fff4e5; --good: #116329; --good-ground: #e9f7ee;
  --s0: #2a6fb0; --s1: #b45f06; --s2: #3d8b57; --s3: #8250b4; --s4: #a8324a; --s5: #56707a; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181d; --text: #e4e8ec; --quiet: #9aa5b1; --line: #38414b;
  --band: #1d232a; --warn: #ffb86b; --warn-ground: #33240f; --good: #7fd49a; --good-ground: #12291b;
  --s0: #6aaae6; --s1: #e3a04f; --s2: #74c492; --s3: #bb95e6; --s4: #e87f92; --s5: #9bb3bd; } }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: var(--ground); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.25; } h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
h3 { margin-top: 1.6rem; } .wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { border: 1px solid var(--line); padding: .3rem .55rem; text-align: left; vertical-align: top; min-width: 4rem; }
th { background: var(--band); } code { font: .86em ui-monospace, monospace; }
.gap, .warning { background: var(--warn-ground); color: var(--warn); border-left: 4px solid; padding: .5rem .8rem; }
.good { background: var(--good-ground); color: var(--good); border-left: 4px solid; padding: .5rem .8rem; }
figure { margin: 1.2rem 0; } figcaption { font-weight: 600; margin-bottom: .3rem; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--text); font: 12px system-ui, sans-serif; }
svg .quiet { fill: var(--quiet); } svg .grid { stroke: var(--line); } svg .band { fill: var(--band); }
svg .plain { fill: var(--s0); } svg .good { fill: var(--s2); } svg .warning { fill: var(--s4); }
svg .s0 { fill: var(--s0); } svg .s1 { fill: var(--s1); } svg .s2 { fill: var(--s2); } svg .s3 { fill: var(--s3); }
svg .s4 { fill: var(--s4); } svg .s5 { fill: var(--s5); }
@media print { body { max-width: none; } h2, h3 { break-after: avoid; } figure, tr { break-inside: avoid; } }
"""


def to_html(document: Document) -> str:
    """Return the document as a whole page."""
    body = "\n".join(_block(block) for block in document.blocks)
    return page(document.title, _STYLE, f"<h1>{shown(document.title)}</h1>\n{body}")


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{shown(block.text)}</h{block.level}>"
        case Paragraph():
            mark = "" if block.tone == "plain" else f' class="{block.tone}"'
            return f"<p{mark}>{shown(block.text)}</p>"
        case Items():
            return f"<ul>{''.join(f'<li>{shown(text)}</li>' for text in block.texts)}</ul>"
        case Gap():
            return f'<p class="gap"><strong>{GAP}</strong> {shown(block.question)}</p>'
        case Table():
            return _table(block) if block.rows else f"<p>{shown(block.nothing)}</p>"
        case Bars():
            return bars(block) if block.labels else ""
        case Timeline():
            return timeline(block) if block.rows else ""


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{shown(column)}</th>' for column in table.columns)
    rows = "".join(f"<tr>{''.join(_cell(table, *cell) for cell in enumerate(row))}</tr>\n" for row in table.rows)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>'


def _cell(table: Table, number: int, text: str) -> str:
    return f"<td><code>{shown(text)}</code></td>" if number in table.code else f"<td>{shown(text)}</td>"
