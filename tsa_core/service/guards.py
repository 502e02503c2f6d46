"""Opens the guards, and asks them about each request."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tsa_core.api import Guard, GuardedRequest, GuardRefusal, Identity, TsaError
from tsa_core.api.time_limit import told
from tsa_core.api.wrong_types import describe
from tsa_core.authority import Cause, CauseKind, PluginCalls, TimestampAuthority
from tsa_core.authority.limited_log import LimitedLog
from tsa_core.config import Settings
from tsa_core.host import GUARD, PluginHost
from tsa_core.service.binding import ask_selected
from tsa_core.service.opening import refuse_without_effect
from tsa_core.values import Value

log = logging.getLogger(__name__)


class GuardFailed(TsaError):
    """A guard gave no answer; the request is refused, and the log says why."""


class _GuardOverdue(TsaError):
    """A guard has not answered in time, or hangs."""


class _Opened(Value):
    guard: Guard
    failed: Cause
    """That the guard says that it cannot answer."""
    what: str
    """The plugin and its distribution, for the log."""
    check: Callable[[GuardedRequest], object]
    calls: PluginCalls | None
    """The threads that call a guard that waits for a network; None for another one."""


class Guards:
    """The selected guards, in their order. The host closes them."""

    def __init__(self, settings: Settings, host: PluginHost, authority: TimestampAuthority) -> None:
        section = settings.middleware
        self.failures = LimitedLog(log)
        self._guards: list[_Opened] = []
        profiles = [profile.summary for profile in authority.profiles.values()]
        for name in section.guards:
            guard: Guard = host.open(GUARD, name, section.plugin_table(name))
            ask_selected(partial(guard.bind, profiles), "guard", name, host, asked="bind")
            distribution = host.distribution(name)
            what = f"the guard {name!r}{f' ({distribution})' if distribution else ''}"
            calls = PluginCalls(
                what,
                seconds=section.guard_timeout.total_seconds(),
                hangs=authority.causes.add(CauseKind.GUARD, name),
                error=_GuardOverdue,
                threads=settings.server.threads,
            )
            waits = guard.latency == "remote"
            failed = authority.causes.add(CauseKind.GUARD, name)
            opened = _Opened(guard=guard, failed=failed, what=what, check=guard.check, calls=calls if waits else None)
            self._guards.append(opened)
        self.wait = any(each.calls is not None for each in self._guards)
        """Whether a guard waits for a network."""
        refuse_without_effect(section, "guard_timeout", "middleware", waits=self.wait)

    @property
    def asked(self) -> list[tuple[Guard, Cause]]:
        """The guards that tell their health, each with the cause that it cannot answer."""
        return [(each.guard, each.failed) for each in self._guards if type(each.guard).health is not Guard.health]

    def close(self) -> None:
        """End the threads that call guards that wait."""
        for each in self._guards:
            if each.calls is not None:
                each.calls.close()

    def ask(self, request: GuardedRequest) -> Identity | GuardRefusal | None:
        """Return the first refusal, else the first identity that a guard knew, else None; raises GuardFailed alone."""
        for each in self._guards:
            answer = self._ask(each, request)
            if isinstance(answer, GuardRefusal):
                return answer if answer.identity or not request.identity else replace(answer, identity=request.identity)
            if answer is not None and request.identity is None:
                request = replace(request, identity=answer)
        return request.identity

    def _ask(self, guard: _Opened, request: GuardedRequest) -> Identity | GuardRefusal | None:
        try:
            answer = guard.check(request) if guard.calls is None else guard.calls.call(partial(guard.check, request))
        except _GuardOverdue as error:
            self.failures.error("overdue", request.request_id, str(error))
            raise GuardFailed("a guard does not answer") from None
        except BaseException as error:
            self.failures.error(type(error).__name__, request.request_id, f"{guard.what} failed: {told(error)}")
            log.debug("%s failed", guard.what, exc_info=True)
            raise GuardFailed("a guard failed") from None
        if answer is None or isinstance(answer, Identity | GuardRefusal):
            return answer
        self.failures.error(
            "type",
            request.request_id,
            f"{guard.what} is wrong: check returned {describe(answer)}, not an Identity, a GuardRefusal or None",
        )
        raise GuardFailed("a guard failed")


def open_guards(settings: Settings, host: PluginHost, authority: TimestampAuthority) -> Guards | None:
    """Return the selected guards, None when there are none; raises TsaError alone."""
    return Guards(settings, host, authority) if settings.middleware.guards else None
