"""Whether tokens can be issued, and why not: for /readyz, metrics, the landing page and the log, without any request.

A thread looks once a second. Whatever may wait for a disk or a network runs in threads of its own (`probes`), so
`checks` and `issuing` can be called on the I/O thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final, TypeVar

from tsa_core.api import AuditSink, ClockError, Guard, HealthCheck, ResponseProcessor, Signer
from tsa_core.authority import Cause, CauseKind, ClockState, ClockStatus, TimestampAuthority
from tsa_core.authority.limited_log import LimitedLog
from tsa_core.config import ClockSettings
from tsa_core.service.certificate_watch import WARNING_DAYS
from tsa_core.service.probes import Probe, TrialSignatures
from tsa_core.values import Value

log = logging.getLogger(__name__)

T = TypeVar("T")

_PERIOD_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 5.0
"""A question that is not answered for longer is a cause; a disk that is busy answers sooner."""
_HOLD_SECONDS: Final = 10.0
"""How long a failure of a sink or processor counts that has no `health` of its own and so always says it is well."""
_SIGNER_SLACK_SECONDS: Final = 1.0
_UNASKED: Final = "not asked yet"


class ReadinessCheck(Value):
    """One line of /readyz."""

    name: str
    healthy: bool
    reason: str


class ReadinessWatch:
    """Keeps the authority's causes up to date and lists them as checks. Thread-safe.

    `sinks`, `processors` and `checks` come with their names in the configuration. `trial_interval` is how long a signer
    may go unused before a trial signature is made, None for ever. `previous` watched over the configuration before a
    reload.
    """

    def __init__(
        self,
        authority: TimestampAuthority,
        *,
        clock: ClockSettings,
        sinks: Sequence[tuple[str, AuditSink]] = (),
        processors: Sequence[tuple[str, ResponseProcessor]] = (),
        guards: Sequence[tuple[Guard, Cause]] = (),
        checks: Sequence[tuple[str, HealthCheck]] = (),
        trial_interval: timedelta | None = None,
        previous: ReadinessWatch | None = None,
    ) -> None:
        self._authority = authority
        self._clock_settings = clock
        causes = authority.causes
        self._clock = causes.add(CauseKind.CLOCK)
        profiles = authority.profiles.values()
        self._uncovered = {profile.name: causes.add(CauseKind.CLOCK, profile=profile.name) for profile in profiles}
        self._certificates = {
            profile.name: causes.add(CauseKind.CERTIFICATE, profile.name, profile=profile.name) for profile in profiles
        }
        self.further_logs: list[LimitedLog] = []
        """Logs of failures beside the authority's, which tell once a second what they have not logged."""
        self._probes: list[Probe] = []
        for profile in profiles:
            trials = TrialSignatures(profile, trial_interval.total_seconds() if trial_interval else None)
            limit = profile.sign_timeout + _SIGNER_SLACK_SECONDS
            self._probes.append(Probe(profile.signer, profile.signing, trials.ask, due=trials.due, limit=limit))
        for (_, sink), failed in zip(sinks, authority.failed_sinks, strict=True):
            hold = _HOLD_SECONDS if type(sink).health is AuditSink.health else 0.0
            self._probes.append(Probe(sink, failed, sink.health, limit=_ANSWER_SECONDS, hold=hold))
        for (_, processor), failed in zip(processors, authority.failed_processors, strict=True):
            hold = _HOLD_SECONDS if type(processor).health is ResponseProcessor.health else 0.0
            self._probes.append(Probe(processor, failed, processor.health, limit=_ANSWER_SECONDS, hold=hold))
        self._probes += [Probe(guard, failed, guard.health, limit=_ANSWER_SECONDS) for guard, failed in guards]
        for name, check in checks:
            cause = causes.add(CauseKind.HEALTH, name)
            cause.set(_UNASKED)
            self._probes.append(Probe(check, cause, check.check, limit=_ANSWER_SECONDS))
        known = {id(probe.subject): probe for probe in previous._probes} if previous else {}
        for probe in self._probes:
            # A signer that was kept has just made a trial signature for its new profile.
            if (before := known.get(id(probe.subject))) and not isinstance(probe.subject, Signer):
                probe.continue_from(before)
        self.told: list[Callable[[Mapping[str, str]], None]] = []
        """Who is told once a second, by the thread that looks, of everything that stops tokens, with its reason."""
        self._told: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._watches = False
        self._thread: threading.Thread | None = None

    # -- for whoever wants to know ------------------------------------------------------------------------------

    def checks(self) -> list[ReadinessCheck]:
        """Return the state of everything that tokens depend on. Waits for nothing.

        A reason contains nothing that clients must not see.
        """
        self._keep_running()
        clock = self._evaluate()
        reasons: dict[str, list[str]] = {}
        for cause, reason in self._authority.causes.active():
            known = reasons.setdefault(cause.check, [])
            if reason not in known:
                known.append(reason)
        notes = dict(self._notes(clock))
        names = dict.fromkeys(
            [*(cause.check for cause in self._authority.causes if cause.kind is not CauseKind.CERTIFICATE)]
        )
        names.update(dict.fromkeys([*notes, *reasons]))
        return [
            ReadinessCheck(
                name=name,
                healthy=name not in reasons,
                reason="; ".join(reasons[name]) if name in reasons else notes.get(name, ""),
            )
            for name in names
        ]

    def stopping(self, profile: str) -> list[CauseKind]:
        """Return what kinds of things stop a profile's tokens now; empty while it issues. Waits for nothing."""
        self._evaluate()
        return self._authority.causes.stopping(profile)

    def ask_all(self, seconds: float) -> None:
        """Ask everything for its health now, and wait for the answers."""
        deadline = monotonic() + seconds
        for probe in [probe for probe in self._probes if probe.look()]:
            if not probe.answered.wait(max(0.0, deadline - monotonic())):
                probe.look()

    # -- what is found without asking a plugin ------------------------------------------------------------------

    def _evaluate(self) -> ClockStatus:
        """Set and clear the causes of clock and certificates."""
        gate = self._authority.gate
        status = gate.status()
        text = clock_text(status, self._clock_settings)
        _set(self._clock, "" if status.issuing else text)
        for name, cause in self._uncovered.items():
            _set(cause, text if status.issuing and name in status.uncovered else "")
        try:
            now = datetime.now(UTC) if gate.clock.latency == "remote" else gate.checked.now().time
        except ClockError:
            now = datetime.now(UTC)
        for name, cause in self._certificates.items():
            _set(cause, self._authority.profiles[name].outside_period(now))
        return status

    def _notes(self, clock: ClockStatus) -> Iterator[tuple[str, str]]:
        """Yield what is to be said of checks that stop nothing."""
        yield CauseKind.CLOCK.value, clock_text(clock, self._clock_settings)
        for profile in self._authority.profiles.values():
            if (left := profile.days_remaining()) <= WARNING_DAYS:
                yield self._certificates[profile.name].check, _days_left(left, profile.period.ends_with)
        for probe in self._probes:
            yield probe.cause.check, probe.status.reason

    # -- the thread ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look once a second, until `close`."""
        self._watches = True
        self._keep_running()

    def _keep_running(self) -> None:
        """Start the thread unless it runs; whoever asks for the state starts it again when it could not be started."""
        if not self._watches or self._stopping.is_set():
            return
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._run, name="readiness", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                log.error("readiness is not watched now: %s", error)  # noqa: TRY400 - no traceback
                return
            self._thread = thread

    def _run(self) -> None:
        while True:
            try:
                self._look()
            except Exception:
                log.exception("the watch over readiness failed; it goes on")
            if self._stopping.wait(_PERIOD_SECONDS):
                return

    def _look(self) -> None:
        for probe in self._probes:
            probe.look()
        self._tell(self.checks())
        self._authority.tell_unlogged()
        for each in self.further_logs:
            each.flush()

    def _tell(self, checks: list[ReadinessCheck]) -> None:
        """Log what has changed. The clock gate logs changes of the clock's state itself."""
        bad = {check.name: check.reason for check in checks if not check.healthy and check.reason != _UNASKED}
        for name, reason in bad.items():
            if self._told.get(name) != reason and name != CauseKind.CLOCK.value:
                log.error("not ready: %s: %s", name, reason)
        for name in self._told:
            if name not in bad and name != CauseKind.CLOCK.value:
                log.warning("ready again: %s", name)
        self._told = bad
        for listener in self.told:
            listener(bad)

    def stop(self) -> None:
        """Look no more; returns at once."""
        self._stopping.set()
        for probe in self._probes:
            probe.stop()

    def close(self, *, seconds: float = 1.0) -> None:
        """Stop, and wait `seconds` at most for the threads; may be called more than once."""
        self.stop()
        deadline = monotonic() + seconds
        if self._thread is not None:
            self._thread.join(seconds)
        for probe in self._probes:
            probe.join(max(0.0, deadline - monotonic()))
        self._authority.tell_unlogged(end=True)
        for each in self.further_logs:
            each.flush(end=True)


def _set(cause: Cause, reason: str) -> None:
    if reason:
        cause.set(reason)
    else:
        cause.clear()


def _days_left(days: float, ends_with: str) -> str:
    return f"issues for {int(days)} more days; the {ends_with} ends then"


def clock_text(status: ClockStatus, settings: ClockSettings) -> str:
    """Return what is to be said of the clock in one line, empty when all is well."""
    parts = [] if status.state is ClockState.SYNCHRONISED else [status.state.value]
    if status.reason:
        parts.append(status.reason)
    if status.uncovered:
        parts.append(f"not accurate enough for: {', '.join(status.uncovered)}")
    if parts and status.issuing and not status.state.trusted:
        setting = "on_failure" if settings.on_failure == "warn" else "unmonitored_step"
        parts.append(f'timestamps are issued all the same ({setting} = "warn")')
    return "; ".join(parts)
