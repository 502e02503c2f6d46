"""What a fault is: a way to break a good authority, the check that is to find it, and those that fail besides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.probe.faulty_authority import FaultyAuthority

FAULTS: Final[list[Fault]] = []
"""All faults; the modules `faults_*` fill it."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A way to break an authority.

    `fails` are all checks of the table that fail on what these checks ask for; the first is the one that it is for.
    """

    name: str
    fails: tuple[str, ...]
    put: Callable[[FaultyAuthority], None]


def add(fails: str, name: str, put: Callable[[FaultyAuthority], None]) -> None:
    """Add a fault; `fails` are names of checks with spaces between them."""
    FAULTS.append(Fault(name=name, fails=tuple(fails.split()), put=put))


def fault(fails: str) -> Callable[[Callable[[FaultyAuthority], None]], None]:
    """Add a function that breaks an authority to the faults, under its own name."""
    return lambda put: add(fails, put.__name__, put)
