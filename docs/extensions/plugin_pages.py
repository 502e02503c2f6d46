"""Makes one page of the site for each folder in plugins/, from its README, where it is read without the site too.

The pages are written into docs/plugin/ before Sphinx looks for pages, and git ignores them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

_README = re.compile(r"\]\((?:\.\./)+plugins/(tsa-[a-z0-9-]+)/README\.md")
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def page_of(readme: str, *, folder: Path, root: Path) -> str:
    """Return a README with its links made right for docs/plugin/.

    A link to another plugin's README leads to its page, one into docs/ to that page. Any other stays, and Sphinx warns
    of it: the site has nothing but pages.
    """

    def moved(match: re.Match[str]) -> str:
        target, _, fragment = match[1].partition("#")
        path = (folder / target).resolve()
        anchor = f"#{fragment}" if fragment else ""
        if path.name == "README.md" and path.parent.parent == root / "plugins":
            return f"]({path.parent.name}.md{anchor})"
        if path == root / "README.md":
            return "](../index.md)"
        if path.suffix == ".md" and path.is_relative_to(root / "docs"):
            return f"](../{path.relative_to(root / 'docs')}{anchor})"
        return match[0]

    return _LINK.sub(moved, readme)


def write_pages(app: Sphinx, *_: Any) -> None:
    """Write what is missing or has changed, so that Sphinx reads no page twice, and remove what has no plugin."""
    docs = Path(app.srcdir)
    root = docs.parent
    pages = docs / "plugin"
    expected = set()
    for readme in sorted(root.glob("plugins/*/README.md")):
        page = pages / f"{readme.parent.name}.md"
        expected.add(page)
        text = page_of(readme.read_text(encoding="utf-8"), folder=readme.parent, root=root)
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
    for page in set(pages.glob("tsa-*.md")) - expected:
        page.unlink()


def lead_to_pages(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Let a page's links to plugins' READMEs, which work where it is read without the site, lead to their pages."""
    up = "../" * docname.count("/")
    source[0] = _README.sub(lambda match: f"]({up}plugin/{match[1]}.md", source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("config-inited", write_pages)
    app.connect("source-read", lead_to_pages)
    return {"parallel_read_safe": True}
