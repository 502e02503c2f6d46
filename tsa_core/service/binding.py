"""Asks plugins at a start and at a reload for what they must do or tell before requests come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

from tsa_core.api import AuditSink, ProfileSummary
from tsa_core.host import PluginHost
from tsa_core.host.loading import ask_plugin

T = TypeVar("T")


def ask_selected(ask: Callable[[], T], label: str, name: str, host: PluginHost, *, asked: str) -> T:
    """Return what an opened plugin answers; raises TsaError alone, also when it hangs.

    `label` is its kind in words, "guard" for example, and `asked` what it is asked for.
    """
    distribution = host.distribution(name)
    what = f"the {label} {name!r}{f' ({distribution})' if distribution else ''}"
    return ask_plugin(ask, what=what, asked=asked, name=name, plugin=host.plugin(name), seconds=host.open_seconds)


def bind_sinks(
    sinks: Sequence[tuple[str, AuditSink]], profiles: Sequence[ProfileSummary], timeout: timedelta, host: PluginHost
) -> None:
    """Tell each audit sink of the profiles, and of the time that the core gives it; raises TsaError alone."""
    for name, sink in sinks:
        ask_selected(partial(sink.bind, profiles, timeout), "audit sink", name, host, asked="bind")
