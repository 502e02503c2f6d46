"""Tells plugins at start what they may know of the service, before anything is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

from tsa_core.api import AuditSink, PluginCrash, ProfileSummary, TsaError
from tsa_core.host import PluginHost
from tsa_core.host.loading import at_fault


def bind_plugin(bind: Callable[[], object], label: str, name: str, host: PluginHost) -> None:
    """Call a plugin's `bind`; raises TsaError alone. `label` is its kind in words, "guard" for example."""
    try:
        bind()
    except TsaError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        distribution = host.distribution(name)
        what = f"the {label} {name!r}{f' ({distribution})' if distribution else ''}"
        raise PluginCrash(
            f"{what} failed in bind: {type(error).__name__}: {said}; {at_fault(host.plugin(name))}",
            plugin=name,
        ) from error


def bind_sinks(
    sinks: Sequence[tuple[str, AuditSink]], profiles: Sequence[ProfileSummary], timeout: timedelta, host: PluginHost
) -> None:
    """Tell each audit sink of the profiles, and of the time that the core gives it; raises TsaError alone."""
    for name, sink in sinks:
        bind_plugin(partial(sink.bind, profiles, timeout), "audit sink", name, host)
