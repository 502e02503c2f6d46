"""The parent's side of its workers: the plan that they serve, the signers that they share, and reloads."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tsa_core.api import ClockMonitor, ConfigError, Signer
from tsa_core.authority import renew_system_reference
from tsa_core.config import Settings
from tsa_core.host import SIGNER, PluginHost
from tsa_core.hosting.facts import Facts
from tsa_core.hosting.notify import notify_watchdog
from tsa_core.hosting.pid_file import PidFile
from tsa_core.hosting.reloading import ReloadControl
from tsa_core.hosting.workers.fleet import Plan, WorkerFleet
from tsa_core.service import LiveService, Service, open_shared_signers, read_material
from tsa_core.service.clock_process import ClockProcess
from tsa_core.service.clock_relay import BANKS, ClockRelay
from tsa_core.service.live import Application
from tsa_core.service.opening import refuse_drift

log = logging.getLogger(__name__)


class _Current(NamedTuple):
    """What a new worker starts with, replaced as one object."""

    plan: Plan
    host: PluginHost
    shared: Mapping[str, Signer]


class WorkerPlans:
    """Made before the first fork. `describe` returns the facts of a service.

    Raises ConfigError, PluginError or SignerError when chains or shared signers cannot be opened.
    """

    def __init__(self, settings: Settings, describe: Callable[[Service], Facts]) -> None:
        self._owner = os.getpid()
        self._fleet = WorkerFleet(describe)
        self._control: ReloadControl | None = None
        self._numbers = itertools.count(1)
        # Before the first fork, so that all workers count steps of the clock from the same instant.
        renew_system_reference()
        host = PluginHost.for_settings(settings)
        self._relay = ClockRelay()
        self._clock: ClockProcess | None = None
        try:
            plan = Plan(number=next(self._numbers), settings=settings, material=read_material(settings))
            self._current = _Current(plan, host, open_shared_signers(host, settings))
            self._clock = self._start_clock(settings, plan.clock_bank, None)
        except BaseException:
            host.close()
            raise
        self._fleet.start(plan)

    @property
    def shared(self) -> Mapping[str, Signer]:
        """The signers that all processes share, by profile."""
        return self._current.shared

    # -- in a worker --------------------------------------------------------------------------------------------

    def open_live(self, build: Callable[[Service], Application]) -> LiveService:
        """In a worker: open the parent's plan, and follow the parent's commands from then on."""
        if self._clock is not None:
            self._clock.leave()
        plan, _, shared = self._current
        service = Service(plan.settings, shared=shared, material=plan.material, monitors=self._monitors(plan))
        try:
            live = LiveService(service, build)
            self._fleet.join(live, plan, self._monitors)
        except BaseException:
            service.close()
            raise
        return live

    def _monitors(self, plan: Plan) -> Mapping[str, ClockMonitor]:
        """Return monitors that read the clock process's verdicts."""
        return self._relay.monitors(plan.clock_bank, list(dict.fromkeys(plan.settings.clock.active_monitors)))

    # -- in the parent ------------------------------------------------------------------------------------------

    def then_accept_reloads(
        self, started: Callable[[Facts], None], read_again: Callable[[], Settings], pid_file: PidFile | None
    ) -> Callable[[Facts], None]:
        """Return what to call with the facts when the workers serve: reloads are accepted, then `started` is called."""

        def all_serve(facts: Facts) -> None:
            self._control = ReloadControl(
                self._current.plan.settings, facts=facts, read_again=read_again, apply=self._apply, pid_file=pid_file
            )
            started(facts)

        return all_serve

    def request(self, *_: object) -> None:
        """Ask for a reload; safe in a signal handler, ignored before the workers serve."""
        if self._control is not None:
            self._control.request()

    def idle(self, seconds: float) -> None:
        """Do what workers, clock and reloads need, for about `seconds`; never raises."""
        try:
            self._fleet.poll(seconds)
            renew_system_reference()
            if self._clock is not None:
                self._clock.look()
        except Exception:
            log.exception("the watch over the workers failed; it goes on")
            time.sleep(seconds)
        if self._control is not None:
            self._control.tick()

    def _start_clock(self, settings: Settings, bank: int, previous: ClockProcess | None) -> ClockProcess | None:
        """Start the process that runs the monitors for all workers; None without monitors."""
        if not settings.clock.active_monitors:
            return None
        self._relay.clear(bank)
        return ClockProcess(settings, self._relay, bank, previous=previous)

    def _apply(self, settings: Settings) -> Facts:
        before = self._current
        host = PluginHost.for_settings(settings, previous=before.host)
        clock, bank = self._clock, before.plan.clock_bank
        try:
            shared = open_shared_signers(host, settings)
            _refuse_new_unique_keys(host, settings, shared)
            material = read_material(settings, before=before.plan.material)
            if settings.clock != before.plan.settings.clock:
                bank = (bank + 1) % BANKS
                clock = self._start_clock(settings, bank, self._clock)
            elif clock is not None:
                refuse_drift(settings, clock.periods)
            plan = Plan(number=next(self._numbers), settings=settings, material=material, clock_bank=bank)
            facts = self._fleet.prepare(plan)
        except BaseException:
            if clock is not None and clock is not self._clock:
                clock.stop()
            host.close()
            raise
        finally:
            host.forget_previous()
        self._current = _Current(plan, host, shared)
        self._fleet.commit(plan)
        if clock is not self._clock:
            self._clock, old = clock, self._clock
            if old is not None:
                old.stop()
        before.host.close()
        return facts

    def while_waiting(self, look: Callable[[], None]) -> None:
        """Call `look` several times a second while a reload waits for workers."""

        def meanwhile() -> None:
            notify_watchdog()
            look()

        self._fleet.meanwhile = meanwhile

    def end_reload(self) -> None:
        """Let a reload that is in progress wait for no worker any more; safe in a signal handler."""
        self._fleet.give_up()

    def close(self, *, seconds: float) -> None:
        """Close the clock's process and all signers within `seconds`; in a process forked from the parent, do nothing.

        What hangs is left behind.
        """
        if os.getpid() != self._owner:
            return
        end = time.monotonic() + seconds
        if self._clock is not None:
            self._clock.stop(seconds=seconds / 2)
        self._relay.close()
        self._fleet.close()
        self._current.host.close(seconds=max(0.0, end - time.monotonic()))


def _refuse_new_unique_keys(host: PluginHost, settings: Settings, shared: Mapping[str, Signer]) -> None:
    """Raise ConfigError for a key that was made at this reload: running workers cannot get it."""
    for name, signer in shared.items():
        if host.provider(SIGNER, settings.profiles[name].scheme).keep_on_reload and not host.has_kept(signer):
            raise ConfigError(
                "a key that is made at start cannot be given to workers that run already; restart the server",
                path=f"profiles.{name}.signer",
            )
