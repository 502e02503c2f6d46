"""Names the plugins that the core has called and that have not returned, for the end of a process.

It looks at the stacks of all threads, so a request costs nothing for it.
"""

from __future__ import annotations

import sys
import threading
from types import FrameType

from tsa_core.host.discovery import CORE_DISTRIBUTION, InstalledPlugin

_CORE = "tsa_core"
_imported: dict[str, InstalledPlugin] = {}
"""The plugins by their top-level package; one for the process, as the imported modules are."""


def note_import(plugin: InstalledPlugin) -> None:
    """Note that a plugin is about to be imported."""
    if plugin.distribution != CORE_DISTRIBUTION:
        _imported[_package(plugin.module)] = plugin


def plugins_at_work() -> list[str]:
    """Return a line for each thread in which a plugin that the core has called has not returned."""
    own, names = threading.get_ident(), {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    for identity, frame in sys._current_frames().items():
        if identity != own and (found := _called_plugin(frame)):
            lines.append(f"{found}, in the thread {names.get(identity, identity)}")
    return lines


def _called_plugin(innermost: FrameType) -> str:
    """Return which plugin's code a thread runs, if the core has called it; a plugin's own threads do not count."""
    frame: FrameType | None = innermost
    inside: tuple[InstalledPlugin, FrameType] | None = None
    while frame is not None:
        package = _package(str(frame.f_globals.get("__name__", "")))
        if inside is not None and package == _CORE:
            plugin, called = inside
            return f"the plugin {plugin.label} has not returned from {called.f_code.co_qualname}"
        if package in _imported:
            inside = _imported[package], frame
        frame = frame.f_back
    return ""


def _package(module: str) -> str:
    return module.partition(".")[0]
