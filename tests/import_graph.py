"""Who imports whom in a tree of Python files, read from their syntax trees: no file is imported.

Every import counts, inside functions and under TYPE_CHECKING too: what needs the other module only later, or only for
its types, still cannot be understood, moved or tested without it. One thing does not count: that Python runs a
package's `__init__.py` before any module in it. Counted, every package that re-exports its modules would be a circle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ImportGraph = dict[Path, set[Path]]
"""The files that each file imports."""

_NOT_SOURCE = {"build", "dist", "node_modules"}


def python_files(folder: Path) -> list[Path]:
    """Return the Python files below a folder, those of environments and builds left out."""
    return [
        path
        for path in sorted(folder.rglob("*.py"))
        if not any(part.startswith(".") or part in _NOT_SOURCE for part in path.relative_to(folder).parts)
    ]


def import_graph(files: Iterable[Path], import_roots: Sequence[Path]) -> ImportGraph:
    """Return the imports among `files`; `import_roots` are the folders where absolute names begin, as in sys.path."""
    graph: ImportGraph = {path: set() for path in files}
    for path, imported in graph.items():
        imported.update(set(_imports(path, import_roots)) & graph.keys() - {path})
    return graph


def find_circle(graph: ImportGraph) -> list[Path]:
    """Return the files of one circle in the order in which they import each other, the first repeated; or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[Path] = error.args[1]
        return circle[::-1]
    return []


def _imports(path: Path, roots: Sequence[Path]) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules(roots, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = [path.parents[node.level - 1]] if node.level else roots
            parts = node.module.split(".") if node.module else []
            for alias in node.names:
                # The name is a module of the package, or something that the package or module defines.
                yield from list(_modules(base, [*parts, alias.name])) or _modules(base, parts)


def _modules(folders: Sequence[Path], parts: Sequence[str]) -> Iterator[Path]:
    """Return the file that a dotted name means, from the first of the folders that has it."""
    for folder in folders:
        place = folder.joinpath(*parts)
        for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if file.is_file():
                yield file
                return
