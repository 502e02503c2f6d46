"""docs/operate/faults.md has a row for every fault that bench.faults does, and for no other."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.needs(find_spec("bench") is not None, "imports a benchmark, which `make test` can")


def test_every_fault_has_its_row() -> None:
    """`python -m bench.faults --only NAME --write` writes the row that is missing."""
    from bench.faults import kinds, page

    kinds.load()
    for kind in kinds.KINDS:
        assert list(page.documented(kind)) == kinds.names(kind), kind
