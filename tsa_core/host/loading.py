"""Runs what a plugin wrote, when it is imported, asked for its providers and opened, and says what went wrong.

Whatever it raises or does not finish becomes an error with one line that names the plugin and its distribution.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TypeVar

from tsa_core import __version__
from tsa_core.api import PluginCrash, PluginError, PluginOptions, Provider, TsaError, install_hint
from tsa_core.api.time_limit import Overdue, told, within_limit
from tsa_core.api.wrong_types import describe
from tsa_core.host.discovery import InstalledPlugin
from tsa_core.host.inspection import opened_complaint
from tsa_core.host.kinds import Kind

log = logging.getLogger(__name__)

T = TypeVar("T")

MADE_FOR_ANOTHER = f"was it made for a newer tsa-core? This is {__version__}: upgrade the core, not the plugin"
_CORE = "tsa_core"


def at_fault(plugin: InstalledPlugin | None) -> str:
    """Return the end of a message about a mistake in a plugin: what the operator can do."""
    other = f"install another version of {plugin.distribution}, or tell its author" if plugin else "tell its author"
    return f"this is a mistake in the plugin, not in the settings: {other}"


def import_plugin(plugin: InstalledPlugin, *, seconds: float) -> ModuleType:
    """Import a plugin's module; raises PluginError for whatever keeps it from being imported in time."""
    try:
        return within_limit(
            lambda: importlib.import_module(plugin.module), seconds=seconds, name=f"import-{plugin.name}"
        )
    except Overdue:
        raise PluginError(
            f"the plugin {plugin.label} could not be imported within {seconds:g} s ([server] open_timeout): it hangs; "
            f"{at_fault(plugin)}",
            plugin=plugin.name,
        ) from None
    except Exception as error:
        log.debug("plugin %s failed to import", plugin.name, exc_info=True)
        lacks = isinstance(error, ImportError) and (error.name or "").partition(".")[0] == _CORE
        remedy = MADE_FOR_ANOTHER if lacks else f"try: {install_hint(plugin.distribution, again=True)}"
        raise PluginError(
            f"the plugin {plugin.label} could not be imported: {_said(error)}; {remedy}", plugin=plugin.name
        ) from error


def ask_plugin(
    ask: Callable[[], T], *, what: str, asked: str, name: str, plugin: InstalledPlugin | None, seconds: float
) -> T:
    """Return what a plugin answers when a server starts or reloads; raises TsaError alone, also when it hangs.

    `what` is the plugin in words, and `asked` says what it was asked for, "bind" for example.
    """
    try:
        return within_limit(ask, seconds=seconds, name=f"ask-{name}")
    except TsaError:
        raise
    except Overdue:
        raise PluginError(
            f"{what} has not returned from {asked} within {seconds:g} s ([server] open_timeout): it hangs; "
            f"{at_fault(plugin)}",
            plugin=name,
        ) from None
    except Exception as error:
        log.debug("%s failed in %s", what, asked, exc_info=True)
        hint = MADE_FOR_ANOTHER if isinstance(error, TypeError) and "Provider" in told(error) else at_fault(plugin)
        raise PluginCrash(f"{what} failed in {asked}: {told(error)}; {hint}", plugin=name) from error


def ask_hook(
    hook: str,
    function: Callable[..., Any],
    plugin: InstalledPlugin | None,
    module: str,
    *,
    seconds: float,
    **arguments: Any,
) -> list[Any]:
    """Return what a plugin's implementation of a hook yields; raises TsaError alone."""
    what = f"the plugin {plugin.label}" if plugin else f"the plugin module {module}"
    name = plugin.name if plugin else module

    def ask() -> list[Any]:
        registered = function(**arguments)
        if not hasattr(registered, "__iter__") or isinstance(registered, str | bytes):
            if inspect.iscoroutine(registered):
                registered.close()  # or Python warns of it later, somewhere else
            raise PluginError(
                f"{what}: {hook} returned {describe(registered)}; a hook yields what it registers (yield Provider(...)"
                f"); {at_fault(plugin)}",
                plugin=name,
            )
        return list(registered)

    return ask_plugin(ask, what=what, asked=hook, name=name, plugin=plugin, seconds=seconds)


def open_within(
    kind: Kind[T],
    provider: Provider[T],
    options: PluginOptions,
    arguments: Mapping[str, Any],
    plugin: InstalledPlugin | None,
    *,
    seconds: float,
    checking: bool = False,
) -> T:
    """Return the object that a provider opens, once it is seen to be of its kind. Raises TsaError alone."""
    opens = (provider.open_for_check or provider.open) if checking else provider.open
    what = f"the {kind.label} {provider.name!r}{f' ({plugin.distribution} {plugin.version})' if plugin else ''}"

    def open_and_look() -> tuple[T, str]:
        opened = opens(options, **arguments)
        try:
            return opened, opened_complaint(kind, opened)
        except BaseException:
            _close(kind, opened)
            raise

    try:
        opened, complaint = within_limit(open_and_look, seconds=seconds, name=f"open-{provider.name}")
    except TsaError:
        raise
    except Overdue:
        raise PluginError(
            f"{what} was not opened within {seconds:g} s ([server] open_timeout): it hangs, or waits for a backend "
            "without a limit of its own",
            plugin=provider.name,
        ) from None
    except Exception as error:
        log.debug("plugin %s failed to open", provider.name, exc_info=True)
        raise PluginCrash(f"{what} could not be opened: {_said(error)}", plugin=provider.name) from error
    if complaint:
        _close(kind, opened)
        raise PluginError(f"{what}: {complaint}; {at_fault(plugin)}", plugin=provider.name)
    return opened


def _close(kind: Kind[Any], opened: object) -> None:
    """Close what is of no use; it may not even have a way to be closed."""
    try:
        getattr(opened, kind.close)()
    except Exception:
        log.debug("a plugin that cannot be used failed to close", exc_info=True)


def _said(error: BaseException) -> str:
    """Return what an exception says; of the system's refusals, its words and the file, without the number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename is not None else error.strerror
    return told(error)
