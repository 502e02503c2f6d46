"""How Sphinx builds the documentation. `make docs` treats every warning as an error."""

from __future__ import annotations

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads(Path(__file__).parent.with_name("pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _PROJECT["name"]
author = _PROJECT["authors"][0]["name"]
copyright = author  # noqa: A001 - Sphinx wants this name
version = release = _PROJECT["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["requirements.txt", "decisions/000-template.md"]
source_suffix = {".md": "markdown"}

# `[a heading](page.md#a-heading)` works as it does where the pages are read unbuilt.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"

# Nothing is fetched from elsewhere: the theme and its search are part of the site.
html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sphinx = False
