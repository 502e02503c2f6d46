"""Random paths have the same verdict here as from pyhanko-certvalidator, which follows RFC 5280 and RFC 9618 too."""

from __future__ import annotations

import asyncio
import importlib.util

from tsa_core.testing import missing


def test_we_agree_with_certvalidator_on_random_paths() -> None:
    """700 here; `python -m tests.paths.mutated_paths --paths 100000` judges more."""
    if importlib.util.find_spec("pyhanko_certvalidator") is None:
        missing("pyhanko-certvalidator is not installed")
    from tests.paths.mutated_paths import compare

    result = asyncio.run(compare(2026, 700))
    assert result.disputed == []
    assert min(result.valid, result.refused) > 200
