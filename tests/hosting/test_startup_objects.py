"""The collection of garbage at the start frees what opening left behind, and does not look at what was imported."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from tsa_core.hosting.garbage import freeze_startup_objects, set_imports_aside


class _InCircle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_the_collection_at_the_start_passes_over_what_was_imported() -> None:
    set_imports_aside()
    opened = _InCircle()
    assert any(each is opened for each in gc.get_objects())
    assert not any(each is gc for each in gc.get_objects())
    assert gc.get_freeze_count() > 100 * len(gc.get_objects())


def test_what_opening_left_behind_is_freed_before_the_rest_is_frozen() -> None:
    set_imports_aside()
    left, kept = weakref.ref(_InCircle()), _InCircle()
    freeze_startup_objects()
    assert left() is None
    assert not any(each is kept for each in gc.get_objects())
