"""Closes what plugins have opened, and waits for none of them longer than it may."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from tsa_core.api import PluginOptions
from tsa_core.api.time_limit import Overdue, within_limit
from tsa_core.host.discovery import CORE_DISTRIBUTION, InstalledPlugin
from tsa_core.host.kinds import Kind

log = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0
"""How long closing may take, all together, unless the process has less."""


class Opened:
    """One opened object. Several hosts may share it; the last one closes it."""

    __slots__ = ("close", "instance", "key", "lock", "may_hang", "options", "plugin", "users")

    def __init__(
        self,
        kind: Kind[Any],
        key: tuple[str, str, str],
        options: PluginOptions,
        instance: Any,
        *,
        close: Callable[[], None] | None = None,
        plugin: InstalledPlugin | None = None,
    ) -> None:
        self.key = key
        self.options = options
        self.instance = instance
        self.close: Callable[[], None] = close or getattr(instance, kind.close)
        self.plugin = plugin
        of_core = plugin is not None and plugin.distribution == CORE_DISTRIBUTION
        inherited = getattr(type(instance), kind.close, None) is getattr(kind.base, kind.close)
        self.may_hang = not (of_core or inherited or close is leave_open)
        """Whether a plugin has written what closes it."""
        self.users = 1
        self.lock = threading.Lock()

    @property
    def label(self) -> str:
        """The plugin's name and distribution in messages."""
        return self.plugin.label if self.plugin is not None else self.key[1]


def leave_open() -> None:
    """Close nothing: the process that opened the object closes it."""


class _Hanging(NamedTuple):
    label: str
    thread: threading.Thread


def close_all(opened: list[Opened], *, seconds: float) -> None:
    """Close objects that nobody uses any more, the last first, and take them from the list.

    A failure is logged. One that does not return in time is logged too, and left to its thread; the others are still
    closed. In `seconds` all is over.
    """
    end = monotonic() + seconds
    hanging: list[_Hanging] = []
    while opened:
        # What is left for those that come later, and once more for those that hang.
        share = (end - monotonic()) / (len(opened) + 1)
        each = opened.pop()
        try:
            if each.may_hang:
                within_limit(each.close, seconds=max(0.0, share), name=f"close-{each.key[1]}")
            else:
                each.close()
        except Overdue as overdue:
            hanging.append(_Hanging(each.label, overdue.thread))
        except Exception:
            log.exception("the plugin %s failed to close", each.label)
    for one in hanging:
        one.thread.join(max(0.0, end - monotonic()))
        if one.thread.is_alive():
            log.error("the plugin %s has not closed within %.1f s; it is left behind", one.label, seconds)
