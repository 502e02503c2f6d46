"""When the interpreter looks for garbage: hardly while a program starts, and as usual once it serves."""

from __future__ import annotations

import gc
from typing import Final

_USUAL: Final = gc.get_threshold()
_OBJECTS: Final = 100_000


def collect_rarely() -> None:
    """Look for garbage after 100,000 more objects: what a start imports stays, and to look through it takes a tenth."""
    gc.set_threshold(_OBJECTS, *_USUAL[1:])


def set_imports_aside() -> None:
    """Exclude what has been imported so far from garbage collection: to look through it takes 25 ms of a start."""
    gc.freeze()


def freeze_startup_objects() -> None:
    """Exclude from garbage collection what lives as long as the process: else a collection stops requests for 30 ms.

    What opening left behind, keys for example, is freed first; what `set_imports_aside` excluded is not looked at.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_USUAL)
