"""What the tokens of a profile state as their accuracy (RFC 3161 2.4.2), and whether the clock lets them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tsa_core.api import ClockError, ConfigError
from tsa_core.config import ClockSettings, ProfileSettings
from tsa_core.protocol.tstinfo import Accuracy, measured_accuracy, wider_accuracy

_NOT_ACCURATE = "the clock may be off by more than the accuracy that timestamps state here"


class StatedAccuracy:
    """Decides the accuracy of each token of a profile.

    `constant` is that of every token, None when there is none or when it is measured. `allowed` is by how much the
    clock may be off, None when that does not matter. `widest` is what a token may state at most where `widen_accuracy`
    is on, None for no such limit. Raises ConfigError for an accuracy of 0.
    """

    def __init__(
        self, profile: str, settings: ProfileSettings, clock: ClockSettings, *, widest: timedelta | None = None
    ) -> None:
        promised = settings.promised_accuracy
        if promised is not None and promised <= timedelta(0):
            raise ConfigError('must be more than 0; "none" leaves it out', path=f"profiles.{profile}.accuracy")
        measured = settings.states_measured_accuracy
        self.allowed = settings.allowed_clock_error
        self._widest = None if promised is None else Accuracy.of(promised)
        self.constant = None if measured else self._widest
        self._widens = clock.widen_accuracy
        self._most = widest
        self._warns = clock.on_failure == "warn"
        self._least = settings.least_accuracy
        self._truncation = settings.truncation
        self._prepared: tuple[timedelta | None, Accuracy | None] = (None, None)
        self.for_bound: Callable[[timedelta | None], Accuracy | None] = self._measured if measured else self._constant
        """Returns what a token must state whose time is off by a bound at most, None for the profile's constant.

        The bound is None when nothing is known. Raises ClockError when there must be no token.
        """

    def _constant(self, bound: timedelta | None) -> Accuracy | None:
        if bound is None or self.allowed is None or bound <= self.allowed:
            return None
        if self._widens:
            wider = self._prepare(bound, wider_accuracy)
            if self._most is None or wider.duration <= self._most:
                return wider
        if self._warns:
            return None
        raise ClockError(_NOT_ACCURATE)

    def _measured(self, bound: timedelta | None) -> Accuracy | None:
        if bound is None:
            raise ClockError("nothing has measured by how much the clock may be off")
        return self._prepare(bound, self._measure)

    def _prepare(self, bound: timedelta, state: Callable[[timedelta], Accuracy]) -> Accuracy:
        """Return the accuracy for a bound, made once for all tokens under one evaluation of the clock.

        The gate hands out one object until it evaluates again. One tuple, so that threads cannot mix two of them.
        """
        known, accuracy = self._prepared
        if known is not bound or accuracy is None:
            accuracy = state(bound)
            self._prepared = bound, accuracy
        return accuracy

    def _measure(self, bound: timedelta) -> Accuracy:
        if self.allowed is None or self._widest is None or bound > self.allowed:
            raise ClockError(_NOT_ACCURATE)
        # genTime is truncated, and the token was made so much later at most.
        accuracy = measured_accuracy(max(bound + self._truncation, self._least))
        return min(accuracy, self._widest, key=lambda each: each.microseconds)
