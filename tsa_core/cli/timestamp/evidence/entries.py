"""The commands of timestamp-cli evidence, each made of its function and its flags."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from tsa_core.cli.timestamp.options import click_command

_PLACES: Final = {
    "CREATE": ("making", "create", "CREATE_FLAGS"),
    "ADD": ("making", "add", "ADD_FLAGS"),
    "VERIFY": ("verifying", "verify", "FLAGS"),
    "EXPORT": ("exporting", "export", "FLAGS"),
    "INSPECT": ("inspecting", "inspect", "FLAGS"),
    "DUE": ("due", "due", "FLAGS"),
    "RENEW": ("renewing", "renew", "FLAGS"),
}
_WITHOUT_FILES: Final = frozenset({"DUE", "RENEW"})


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, function, flags = _PLACES[name]
    found = import_module(f"tsa_core.cli.timestamp.evidence.{module}")
    return click_command(function, getattr(found, function), getattr(found, flags), paths=name not in _WITHOUT_FILES)
