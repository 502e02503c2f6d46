"""The settings of a profile that say how exact its tokens are."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from tsa_core.api.fields import Duration, format_duration, parse_duration
from tsa_core.config.sections import Table, none_text

MEASURED: Final = "measured"
_LEAST_DIGITS = 3
_FLOOR = timedelta(milliseconds=1)
_CEILING = timedelta(seconds=1)


def _accuracy(value: object) -> object:
    if isinstance(value, str) and value.strip().lower() == MEASURED:
        return MEASURED
    value = none_text(value)
    return None if value is None else parse_duration(value)


def _accuracy_text(value: timedelta | str | None) -> str | None:
    return format_duration(value) if isinstance(value, timedelta) else value


StatedAccuracySetting: TypeAlias = Annotated[
    Literal["measured"] | timedelta | None, BeforeValidator(_accuracy), PlainSerializer(_accuracy_text)
]


class AccuracySettings(Table):
    """The part of `[profiles.NAME]` about genTime and its accuracy."""

    accuracy: StatedAccuracySetting = Field(
        timedelta(seconds=1),
        description='stated accuracy of genTime; "measured": what the clock is off by at most, by its monitors; "none" '
        "leaves the field out",
    )
    accuracy_floor: Duration | None = Field(
        None, gt=timedelta(0), description='with accuracy = "measured": no token states less; 1ms unless given'
    )
    accuracy_ceiling: Duration | None = Field(
        None,
        gt=timedelta(0),
        description='with accuracy = "measured": no token while the clock may be off by more; 1s unless given',
    )
    fraction_digits: int = Field(0, ge=0, le=6, description="digits of genTime after the second")

    @property
    def states_measured_accuracy(self) -> bool:
        """Whether each token states what was measured."""
        return self.accuracy == MEASURED

    @property
    def least_accuracy(self) -> timedelta:
        """What a token states at least when it states what was measured."""
        return self.accuracy_floor or min(_FLOOR, self.accuracy_ceiling or _FLOOR)

    @property
    def promised_accuracy(self) -> timedelta | None:
        """The widest accuracy that a token states, as long as the clock is right; None when tokens state none."""
        if isinstance(self.accuracy, timedelta):
            return self.accuracy
        if self.accuracy is None:
            return None
        return self.accuracy_ceiling or max(_CEILING, self.accuracy_floor or _CEILING)

    @property
    def truncation(self) -> timedelta:
        """How far genTime may be before the reading of the clock, at most."""
        return timedelta(microseconds=10 ** (6 - self.fraction_digits))

    @property
    def allowed_clock_error(self) -> timedelta | None:
        """By how much the clock may be off when a token is made; None when the tokens state nothing about it."""
        promised = self.promised_accuracy
        return promised - self.truncation if promised and self.states_measured_accuracy else promised

    @property
    def widest_clock_error(self) -> timedelta | None:
        """By how much the clock may be off at most where `widen_accuracy` is on: what is measured is not widened."""
        return self.allowed_clock_error if self.states_measured_accuracy else None

    @model_validator(mode="after")
    def _measured_accuracy_is_whole(self) -> Self:
        if not self.states_measured_accuracy:
            for name in ("accuracy_floor", "accuracy_ceiling"):
                if getattr(self, name) is not None:
                    raise ValueError(f'{name} has no effect without accuracy = "{MEASURED}"')
            return self
        if self.fraction_digits < _LEAST_DIGITS:
            raise ValueError(
                f'accuracy = "{MEASURED}" needs fraction_digits = {_LEAST_DIGITS} or more: with fewer, the truncation '
                "of genTime would be the larger part of it"
            )
        if self.accuracy_floor and self.accuracy_ceiling and self.accuracy_floor > self.accuracy_ceiling:
            raise ValueError("accuracy_floor must not be more than accuracy_ceiling")
        if self.accuracy_ceiling and self.accuracy_ceiling <= self.truncation:
            raise ValueError("accuracy_ceiling must be more than the last digit of genTime (fraction_digits)")
        return self
