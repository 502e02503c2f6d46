"""Opens the plugins that add routes, and refuses paths that two of them want, or that are the core's."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from tsa_core.api import (
    AuthorityAccess,
    ConfigError,
    PluginError,
    Route,
    RouteReply,
    Routes,
    TsaError,
)
from tsa_core.api.wrong_types import describe
from tsa_core.authority import Cause, CauseKind, PluginCalls, TimestampAuthority
from tsa_core.authority.limited_log import LimitedLog
from tsa_core.config import Settings
from tsa_core.host import ROUTES, PluginHost
from tsa_core.host.loading import at_fault
from tsa_core.service.authority_access import ServiceAccess
from tsa_core.service.binding import ask_selected
from tsa_core.service.opening import refuse_without_effect
from tsa_core.values import Value

log = logging.getLogger(__name__)

_CORE_PARTS: Final = frozenset({"api", "tsa", "ping", "healthz", "readyz", "docs", "openapi.json", "swagger.json"})
"""The first parts of the core's own paths."""
_LABEL: Final = "routes plugin"
_HANDLER_SECONDS: Final = 15.0
"""How long a handler may take where what it waits for takes less."""


class HandlerOverdue(TsaError):
    """A handler has not returned in time, or its plugin hangs."""


class OpenedRoutes(Value):
    """The routes of one plugin, the threads that call its handlers, and the log of their failures."""

    name: str
    what: str
    """The plugin and its distribution, for the log."""
    routes: Sequence[Route]
    calls: PluginCalls
    failures: LimitedLog

    @property
    def handles(self) -> bool:
        """Whether there is a handler among the answers."""
        return any(not isinstance(route.answer, RouteReply) for route in self.routes)


def handler_seconds(settings: Settings, authority: TimestampAuthority) -> float:
    """Return how long a handler may take: by default longer than what it waits for, which has limits of its own."""
    given = settings.routes.handler_timeout
    return max(_HANDLER_SECONDS, authority.longest_countersignature + 1) if given is None else given.total_seconds()


def open_routes(settings: Settings, host: PluginHost, access: ServiceAccess) -> list[OpenedRoutes]:
    """Open the selected plugins and ask each for its routes; raises TsaError alone. The host closes the plugins."""
    section = settings.routes
    opened: list[OpenedRoutes] = []
    for name in section.plugins:
        plugin = host.open(ROUTES, name, section.plugin_table(name))
        distribution = host.distribution(name)
        what = f"the {_LABEL} {name!r}{f' ({distribution})' if distribution else ''}"
        calls = PluginCalls(
            what,
            seconds=access.handler_seconds,
            # A page that hangs stops no tokens, so this cause is nobody's but its own.
            hangs=Cause(CauseKind.HEALTH, name),
            error=HandlerOverdue,
            threads=settings.server.threads,
        )
        routes = _ask(plugin, access, what, host, name)
        opened.append(OpenedRoutes(name=name, what=what, routes=routes, calls=calls, failures=LimitedLog(log)))
    _refuse_conflicts(settings, opened)
    refuse_without_effect(section, "handler_timeout", "routes", waits=any(each.handles for each in opened))
    return opened


def _ask(plugin: Routes, access: AuthorityAccess, what: str, host: PluginHost, name: str) -> Sequence[Route]:
    """Call `bind` and `routes`; raises TsaError alone."""
    ask_selected(lambda: plugin.bind(access), _LABEL, name, host, asked="bind")
    found: object = ask_selected(plugin.routes, _LABEL, name, host, asked="routes")
    if not isinstance(found, Sequence) or not all(isinstance(each, Route) for each in found):
        raise PluginError(
            f"{what}: routes returned {describe(found)}, not a list of Routes; {at_fault(host.plugin(name))}",
            plugin=name,
        )
    return tuple(found)


def _refuse_conflicts(settings: Settings, opened: Sequence[OpenedRoutes]) -> None:
    """Raise ConfigError for a path that two want; both are named, because the operator can leave one out."""
    aliases = [
        (f"profiles.{name}.paths", Route(path=path, answer=RouteReply(), methods=("POST",)))
        for name, profile in settings.profiles.items()
        for path in profile.paths
    ]
    before: list[tuple[OpenedRoutes, Route]] = []
    for each in opened:
        for route in each.routes:
            if complaint := _complaint(route):
                raise ConfigError(
                    f"{each.what} wants the path {route.path}, {complaint}; leave it out, or give it another path if "
                    "it has a setting for that",
                    path="routes.plugins",
                )
            for setting, alias in aliases:
                if route.overlaps(alias):
                    raise ConfigError(
                        f"{each.what} wants the path {route.path}, which is also {alias.path} of {setting}; "
                        "change one of them",
                        path="routes.plugins",
                    )
            for other, theirs in before:
                _refuse_conflict(each, route, other, theirs)
            before.append((each, route))


def _complaint(route: Route) -> str:
    if not route.parts:
        return "which has POST for clients that were given a bare host" if "POST" in route.methods else ""
    first = route.parts[0]
    if first.startswith("{"):
        return "which would take the core's own"
    return f"and all below /{first} is the core's" if first in _CORE_PARTS else ""


def _refuse_conflict(mine: OpenedRoutes, route: Route, other: OpenedRoutes, theirs: Route) -> None:
    if mine is other:
        if route.path == theirs.path and set(route.methods) & set(theirs.methods):
            raise PluginError(f"{mine.what} has the path {route.path} twice", plugin=mine.name)
    elif route.overlaps(theirs):
        same = f"both want the path {route.path}" if route.path == theirs.path else "have paths that may be the same"
        paths = "" if route.path == theirs.path else f": {theirs.path} and {route.path}"
        raise ConfigError(
            f"{other.what} and {mine.what} {same}{paths}; leave one out, or give it another path if it has a setting "
            "for that",
            path="routes.plugins",
        )
