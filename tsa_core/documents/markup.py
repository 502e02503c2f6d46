"""What every page and drawing is made of: escaped text, a page that runs and loads nothing, and the parts of SVG.

The documents of this package and the report of a probe are written with it, each with a style of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

CLOSED: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Even if a text became markup, a browser would load and run nothing."""


def one_line(text: str) -> str:
    """Return a text on one line; what is not printable becomes a ?."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def shown(text: str) -> str:
    """Return a text of which a browser makes nothing but itself."""
    return escape(one_line(text))


def page(title: str, style: str, body: str) -> str:
    """Return a whole page: `title` is a text, `style` CSS, and `body` markup."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{CLOSED}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{shown(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def drawing(width: float, height: float, parts: Iterable[str], label: str, *, kind: str = "") -> str:
    """Return an SVG of this size in its own units; `label` says in words what it shows."""
    content = "\n".join(parts)
    return (
        f'<svg{_class(kind)} viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{shown(label)}">\n'
        f"{content}\n</svg>"
    )


def text(x: float, y: float, content: str, *, anchor: str = "start", kind: str = "") -> str:
    """Return a text of a drawing, which begins, ends or has its middle at `x`."""
    return f'<text{_class(kind)} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{shown(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, *, kind: str = "grid") -> str:
    """Return a straight line of a drawing."""
    return f'<line{_class(kind)} x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def rect(x: float, y: float, width: float, height: float, *, kind: str, hint: str = "", radius: float = 0) -> str:
    """Return a rectangle of a drawing; `hint` is told when somebody points at it."""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    corners = f' rx="{radius:g}"' if radius else ""
    told = f"><title>{shown(hint)}</title></rect>" if hint else "/>"
    return f"<rect{_class(kind)} {place}{corners}{told}"


def short(content: str, letters: int) -> str:
    """Return a text that has no more than this many letters."""
    return content if len(content) <= letters else f"{content[: letters - 1]}…"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
