"""What a fault is: a way to break a good authority, and the checks that find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.probe.faulty_authority import FaultyAuthority

FAULTS: Final[list[Fault]] = []
"""All faults; the modules `faults_*` fill it."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A way to break an authority, and the checks that find it."""

    name: str
    fails: frozenset[str]
    put: Callable[[FaultyAuthority], None]


def add(fails: str, name: str, put: Callable[[FaultyAuthority], None]) -> None:
    """Add a fault; `fails` are names of checks with spaces between them."""
    FAULTS.append(Fault(name=name, fails=frozenset(fails.split()), put=put))


def fault(fails: str) -> Callable[[Callable[[FaultyAuthority], None]], None]:
    """Add a function that breaks an authority to the faults, under its own name."""
    return lambda put: add(fails, put.__name__, put)
