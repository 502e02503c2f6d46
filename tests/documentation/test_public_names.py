"""Every public name of the library has a docstring, and its package has a page that `make docs` makes of them."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tsa_core

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
PUBLIC = ("api", "client", "cose", "evidence", "extract", "probe", "testing", "verify")


def documented_constants(module: ModuleType) -> Iterator[str]:
    """Yield the names at the top of a module that a string stands below."""
    body = ast.parse(inspect.getsource(module)).body
    for node, after in pairwise(body):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def has_text(name: str, found: Any) -> bool:
    if inspect.isclass(found):
        return not (found.__doc__ or f"{name}(").startswith(f"{name}(")  # which is what a dataclass makes
    if inspect.isroutine(found) or hasattr(found, "__wrapped__"):
        return bool(found.__doc__)
    homes = [m for n, m in list(sys.modules.items()) if n.startswith("tsa_core.") and vars(m).get(name) is found]
    return any(name in documented_constants(home) for home in homes)


def bare_members(found: type) -> Iterator[str]:
    """Yield the public methods and properties of a class without a docstring of their own or of a base."""
    for name, member in vars(found).items():
        shown = not name.startswith(("_", "test_"))  # a contract's test is named by the rule that it proves
        if shown and (inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod)):
            text = member.__doc__ if isinstance(member, property) else inspect.getdoc(getattr(found, name))
            if not text:
                yield name


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name_has_a_docstring(package: str) -> None:
    module = import_module(f"tsa_core.{package}")
    names = {name: getattr(module, name) for name in module.__all__}
    assert [name for name, found in names.items() if not has_text(name, found)] == []
    classes = [(name, found) for name, found in names.items() if inspect.isclass(found)]
    assert [f"{name}.{member}" for name, found in classes for member in bare_members(found)] == []


@pytest.mark.parametrize("package", PUBLIC)
def test_all_is_what_can_be_imported_and_nothing_twice(package: str) -> None:
    module = import_module(f"tsa_core.{package}")
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    with pytest.raises(AttributeError):
        _ = module.there_is_no_such_name


def test_each_public_package_has_a_page() -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in REFERENCE.glob("api-*.md")}
    named = {path: re.findall(r"api-reference:: tsa_core\.(\w+)", text) for path, text in pages.items()}
    described = [name for names in named.values() for name in names]
    assert sorted(described) == sorted(PUBLIC)
    listed = re.findall(r"^api-\w+$", (REFERENCE / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in pages)


def test_public_packages_are_those_that_the_docs_import() -> None:
    """A package that a page for users imports from is one of the reference."""
    pages = [*(ROOT / "docs" / "verify").glob("*.md"), *(ROOT / "docs" / "plugins").glob("*.md"), ROOT / "README.md"]
    packages = {module.name for module in pkgutil.iter_modules(tsa_core.__path__) if module.ispkg}
    used = {name for page in pages for name in re.findall(r"from tsa_core\.(\w+)[\w.]* import", page.read_text())}
    assert used & packages <= {*PUBLIC, "cli"}
