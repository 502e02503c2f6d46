"""Packages that only these tests need, and that an environment with the core alone lacks."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from tsa_core.testing import missing


def import_package(name: str, *, install: str) -> ModuleType:
    """Import a package for a whole module of tests; without it, the module is skipped, or fails, as `missing` does."""
    try:
        return importlib.import_module(name)
    except ImportError:
        try:
            missing(f"there is no Python package {install}")
        except pytest.skip.Exception as skip:
            pytest.skip(str(skip), allow_module_level=True)
