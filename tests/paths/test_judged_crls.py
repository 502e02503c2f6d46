"""Random sets of CRLs have the same verdict here as from pyhanko-certvalidator, or it is known why not."""

from __future__ import annotations

import importlib.util

from tsa_core.testing import missing


def test_we_agree_with_certvalidator_on_random_sets_of_crls() -> None:
    """200 here; `python -m tests.paths.mutated_crls --crls 100000` judges more."""
    if importlib.util.find_spec("pyhanko_certvalidator") is None:
        missing("pyhanko-certvalidator is not installed")
    from tests.paths.mutated_crls import compare

    result = compare(6, 200)
    assert result.disputed == []
    assert min(result.alike[verdict] for verdict in ("good", "revoked", "unknown")) > 10
