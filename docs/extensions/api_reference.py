"""The directive `api-reference MODULE`: every public name of a module, from its docstring; one without is a warning.

autodoc's own automodule lists what is in a module's namespace when it looks. Some of ours import a name when it is
asked for, and their constants are documented where they are defined.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

log = logging.getLogger(__name__)


class ApiReference(SphinxDirective):
    """Describes the names in `__all__` of the module that is its argument."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return what autodoc makes of each name."""
        module = import_module(self.arguments[0])
        lines = [f".. automodule:: {module.__name__}", "   :no-members:", ""]
        for name in module.__all__:
            lines += self._lines(module, name)
        parent = nodes.Element()
        self.state.nested_parse(StringList(lines, source=module.__file__), 0, parent)
        return list(parent.children)

    def _lines(self, module: ModuleType, name: str) -> list[str]:
        found, full = getattr(module, name), f"{module.__name__}.{name}"
        if inspect.isclass(found):
            if not found.__doc__ or found.__doc__.startswith(f"{name}("):
                log.warning("%s has no docstring", full, location=self.get_location())
            return [f".. autoclass:: {full}", ""]
        if inspect.isroutine(found) or hasattr(found, "__wrapped__"):
            if not found.__doc__:
                log.warning("%s has no docstring", full, location=self.get_location())
            return [f".. autofunction:: {full}", ""]
        text = constant_text(name, found)
        if not text:
            log.warning("%s has no docstring", full, location=self.get_location())
        return [
            f".. py:currentmodule:: {module.__name__}",
            "",
            f".. py:data:: {name}",
            "",
            *(f"   {line}" for line in text),
            "",
        ]


def constant_text(name: str, value: Any) -> list[str]:
    """Return the docstring below the assignment of a constant, in whichever module of ours that is."""
    for module_name, module in sorted(sys.modules.items()):
        if module_name.startswith("tsa_core.") and vars(module).get(name) is value:
            try:
                comments = ModuleAnalyzer.for_module(module_name).find_attr_docs()
            except PycodeError:
                continue
            if text := comments.get(("", name)):
                return text
    return []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_directive("api-reference", ApiReference)
    return {"parallel_read_safe": True}
