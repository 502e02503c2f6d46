"""How Sphinx builds the documentation. `make docs` treats every warning as an error."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_PROJECT = tomllib.loads(_HERE.with_name("pyproject.toml").read_text(encoding="utf-8"))["project"]
# The plugins need not be installed for their commands to be described.
sys.path[:0] = [str(_HERE / "extensions"), *map(str, _HERE.parent.glob("plugins/*"))]

project = _PROJECT["name"]
author = _PROJECT["authors"][0]["name"]
copyright = author  # noqa: A001 - Sphinx wants this name
version = release = _PROJECT["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
    "api_reference",  # what the public modules say of themselves
    "command_reference",  # what the commands say of themselves
    "plugin_pages",  # one page for each folder in plugins/, from its README
]
exclude_patterns = ["requirements.txt", "decisions/000-template.md", "extensions", "static"]
source_suffix = {".md": "markdown"}

# `[a heading](page.md#a-heading)` works as it does where the pages are read unbuilt.
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]

# Two dashes are the beginning of a flag.
smartquotes = False

# Docstrings put code into single backquotes, as Markdown does.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "model_config"}

# The copy button leaves the prompt and what the command prints.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"
copybutton_here_doc_delimiter = "EOF"

# Nothing is fetched from elsewhere: the theme and its search are part of the site.
html_theme = "furo"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
