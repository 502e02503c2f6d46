"""The kinds of faults: one module and one section of the page each, in this order."""

from __future__ import annotations

import importlib

from bench.faults.fault import REGISTERED

KINDS = ("clock", "trail", "waiting", "readiness", "wrong_plugins", "hostile_http", "files", "proxies", "backends")


def load() -> None:
    """Import the module of each kind, which registers its faults."""
    for kind in KINDS:
        importlib.import_module(f"bench.faults.{kind}")


def names(kind: str) -> list[str]:
    """Return the names of a kind's faults, in the order in which they are written."""
    return [each.name for each in REGISTERED.values() if each.kind == kind]
