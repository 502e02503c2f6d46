"""Who imports whom in a tree of Python files, read from their syntax trees: no file is imported.

Every import counts, inside functions and under TYPE_CHECKING too: what needs the other module only later, or only for
its types, still cannot be understood, moved or tested without it. One thing does not count: that Python runs a
package's `__init__.py` before any module in it. Counted, every package that re-exports its modules would be a circle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    modules = {str(path.parent): path for path in graph if path.stem == "__init__"}
    modules |= {str(path.with_suffix("")): path for path in graph}
    roots = [str(root) for root in import_roots]
    for path, imported in graph.items():
        imported.update(set(_imports(path, roots, modules)) - {path})
    return graph


def find_circle(graph: ImportGraph) -> list[Path]:
    """Return the files of one circle in the order in which they import each other, the first repeated; or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[Path] = error.args[1]
        return circle[::-1]
    return []


def _imports(path: Path, roots: Sequence[str], modules: Mapping[str, Path]) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module(roots, alias.name, modules)
        elif isinstance(node, ast.ImportFrom):
            base = [str(path.parents[node.level - 1])] if node.level else roots
            for alias in node.names:
                # The name is a module of the package, or something that the package or module defines.
                inside = f"{node.module}.{alias.name}" if node.module else alias.name
                yield from _module(base, inside, modules) or _module(base, node.module or "", modules)


def _module(folders: Sequence[str], name: str, modules: Mapping[str, Path]) -> list[Path]:
    """Return the file that a dotted name means, from the first of the folders that has it, or nothing.

    `modules` are the files by their paths without `.py`, and packages' `__init__.py` by their folders.
    """
    place = name.replace(".", "/")
    for folder in folders:
        if (file := modules.get(f"{folder}/{place}".rstrip("/"))) is not None:
            return [file]
    return []
