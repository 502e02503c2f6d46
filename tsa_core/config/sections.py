"""The models of the sections that select plugins, and of the limits of what is selected.

The plugin NAME defines the keys of a table `[clock.NAME]`, so such tables are kept unvalidated until the plugin is
loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from tsa_core.api.fields import ConfigPath, Duration, SettingsTable, TextList

PluginTable: TypeAlias = dict[str, Any]


def none_text(value: object) -> object:
    """Return None for the text none, with which a setting is left out."""
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


class Table(SettingsTable):
    """A table without plugins' tables."""

    # Settings builds the models of its tables, once for all.
    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True, defer_build=True
    )


class PluginSection(SettingsTable):
    """A table that also holds one table per plugin, by the plugin's name."""

    model_config = ConfigDict(
        extra="allow", frozen=True, validate_default=True, hide_input_in_errors=True, defer_build=True
    )

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Leave out what the tables of plugins hold: what of it is a secret, only the plugin knows."""
        tables = self.plugin_tables()
        return ((name, "..." if name in tables else value) for name, value in super().__repr_args__())

    def plugin_table(self, name: str) -> PluginTable:
        """Return the settings of the plugin `name`, empty when there are none."""
        return dict((self.__pydantic_extra__ or {}).get(name, {}))

    def plugin_tables(self) -> frozenset[str]:
        """Return the names of all plugins that have a table here."""
        return frozenset(self.__pydantic_extra__ or {})


SectionT = TypeVar("SectionT", bound=PluginSection)


def _refuse_without(section: SectionT, setting: str, plugins: Sequence[str], selected_by: str) -> SectionT:
    """Return the section; raise ValueError when it has a setting for plugins of which it selects none."""
    if not plugins and getattr(section, setting) != type(section).model_fields[setting].default:
        raise ValueError(f"{setting} has no effect, because {selected_by} selects no plugin")
    return section


def refuse_twice(setting: str, names: Sequence[str]) -> None:
    """Raise ValueError for what a list has twice."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{setting} lists {name!r} twice")


class ClockSettings(PluginSection):
    """`[clock]`: the source of time, and its monitors."""

    source: str = Field("system", description="clock plugin")
    source_timeout: Duration = Field(
        timedelta(seconds=5),
        gt=timedelta(0),
        description="time for a reading of a clock that waits; then timeNotAvailable",
    )
    monitors: TextList = Field(default=[], description="clock monitor plugins; all must trust the clock")
    disabled_monitors: TextList = Field(default=[], description="monitors to leave out although listed")
    on_failure: Literal["refuse", "warn"] = Field(
        "refuse",
        description="refuse: no token while the clock cannot be trusted; warn: issue all the same and log it",
    )
    unmonitored_step: Literal["refuse", "warn"] = Field(
        "refuse",
        description="without monitors, when the clock was set by more than the accuracy since the start; refuse: no "
        "token until it is set back or the server is restarted; warn: issue all the same and log it",
    )
    widen_accuracy: bool = Field(
        False,
        description="when the clock may be off by more than the profile's accuracy, state the wider accuracy in the "
        "token instead of refusing",
    )
    max_holdover: Duration = Field(
        timedelta(hours=1), description="how long the last good measurement is relied upon when no new one succeeds"
    )
    drift_ppm: float = Field(
        500.0,
        ge=0,
        le=10_000,
        description="how fast the clock may drift between two measurements; 500, the most that time services correct: "
        "30 ms in a minute",
    )
    step_threshold: Duration = Field(
        timedelta(milliseconds=200),
        description="a jump of the clock beyond this closes the gate until the next measurement; a smaller one "
        "counts as an offset",
    )
    max_verdict_age: Duration = Field(
        timedelta(minutes=5),
        description="a monitor without a new verdict for longer has died, unless it sets a limit of its own",
    )
    leap: Literal["pause", "stop", "ignore"] = Field(
        "pause",
        description="around an announced leap second: pause for the two seconds that are ambiguous, stop from a "
        "minute before until the clock was measured after it, or ignore it",
    )

    @model_validator(mode="after")
    def _asks_each_once(self) -> Self:
        refuse_twice("monitors", self.monitors)
        refuse_twice("disabled_monitors", self.disabled_monitors)
        return self

    @property
    def active_monitors(self) -> list[str]:
        """The monitors that are listed and not disabled."""
        return [name for name in self.monitors if name not in self.disabled_monitors]


class PolicySettings(PluginSection):
    """`[policy]`: the selectors that choose the profile."""

    selectors: TextList = Field(default=["oid"], description="policy selector plugins, asked in this order")
    selector_timeout: Duration = Field(
        timedelta(seconds=5),
        gt=timedelta(0),
        description="time for a selector that waits for a network; then systemFailure",
    )

    @model_validator(mode="after")
    def _selects_each_once(self) -> Self:
        refuse_twice("selectors", self.selectors)
        return self


class ResponseSettings(PluginSection):
    """`[response]`: the processors of granted replies."""

    processors: TextList = Field(default=[], description="response processor plugins, run in this order")
    processor_timeout: Duration = Field(
        timedelta(seconds=5),
        gt=timedelta(0),
        description="time for one call of a processor; then the reply is withheld (systemFailure)",
    )

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        refuse_twice("processors", self.processors)
        return _refuse_without(self, "processor_timeout", self.processors, "processors")


class AuditSettings(PluginSection):
    """`[audit]`: the sinks that must record a token before it is sent."""

    sinks: TextList = Field(default=[], description="audit sink plugins; all must accept")
    sink_timeout: Duration = Field(
        timedelta(seconds=5),
        gt=timedelta(0),
        description="time for one call of a sink; then tokens are withheld (systemFailure)",
    )
    anchor_urls: TextList = Field(
        default=[], description="other timestamp authorities, which stamp the ends of the trails"
    )
    anchor_roots: ConfigPath | None = Field(
        None, description="PEM file: the roots of their certificates; needed with anchor_urls"
    )
    anchor_threshold: int = Field(1, ge=1, le=100, description="how many of them must have stamped it")
    anchor_interval: Annotated[Duration | None, BeforeValidator(none_text)] = Field(
        timedelta(minutes=10),
        ge=timedelta(seconds=1),
        description='how often a server has it stamped; "none": only `timestamp-server audit anchor` does',
    )
    anchor_deadline: Duration = Field(
        timedelta(seconds=30), gt=timedelta(0), description="time for all of them to answer, once"
    )
    anchor_max_age: Annotated[Duration | None, BeforeValidator(none_text)] = Field(
        None, description='/readyz is red when the last anchor is older; "none": never'
    )

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        refuse_twice("sinks", self.sinks)
        return _refuse_without(self, "sink_timeout", self.sinks, "sinks")

    @model_validator(mode="after")
    def _anchors_something(self) -> Self:
        refuse_twice("anchor_urls", self.anchor_urls)
        if not self.anchor_urls:
            others = ("anchor_threshold", "anchor_interval", "anchor_deadline", "anchor_max_age", "anchor_roots")
            for setting in others:
                if getattr(self, setting) != type(self).model_fields[setting].default:
                    raise ValueError(f"{setting} has no effect, because there are no anchor_urls")
            return self
        if not self.sinks:
            raise ValueError("anchor_urls has no effect, because sinks selects no plugin")
        if self.anchor_roots is None:
            raise ValueError("anchor_urls needs anchor_roots, the PEM file of the roots that those authorities have")
        if self.anchor_threshold > len(self.anchor_urls):
            raise ValueError(f"anchor_threshold is more than the {len(self.anchor_urls)} anchor_urls can fulfil")
        for url in self.anchor_urls:
            if not re.fullmatch(r"https?://[^\s@]+", url):
                raise ValueError(
                    f"{url.partition('@')[2] or url!r} in anchor_urls is no address; write https://HOST/PATH"
                )
        interval, age = self.anchor_interval, self.anchor_max_age
        if interval is not None and age is not None and age <= interval:
            raise ValueError("anchor_max_age must be more than anchor_interval")
        return self


class ObserveSettings(PluginSection):
    """`[observe]`: the observers of requests."""

    observers: TextList = Field(default=[], description="observer plugins")
    queue_limit: int = Field(
        10_000,
        ge=1,
        le=10_000_000,
        description="requests that an observer has not been told of yet; it is not told of more",
    )

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        refuse_twice("observers", self.observers)
        return _refuse_without(self, "queue_limit", self.observers, "observers")


class RoutesSettings(PluginSection):
    """`[routes]`: the pages and paths that plugins add."""

    plugins: TextList = Field(default=[], description="plugins that add pages and other paths")
    handler_timeout: Duration | None = Field(
        None,
        gt=timedelta(0),
        description="time for one request to a plugin's path; then 503. Unless given, 15 s, or a second more than a "
        "signer and the audit sinks may take together",
    )

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        refuse_twice("plugins", self.plugins)
        return _refuse_without(self, "handler_timeout", self.plugins, "plugins")


class MiddlewareSettings(PluginSection):
    """`[middleware]`: the guards, which decide who may use the HTTP server."""

    guards: TextList = Field(default=[], description="guard plugins, asked in this order; all must agree")
    guard_timeout: Duration = Field(
        timedelta(seconds=2), gt=timedelta(0), description="time for a guard that waits for a network; then 503"
    )

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        refuse_twice("guards", self.guards)
        return _refuse_without(self, "guard_timeout", self.guards, "guards")


class HealthSettings(PluginSection):
    """`[health]`: what /readyz depends on beside what requests show."""

    checks: TextList = Field(default=[], description="health check plugins")
    trial_interval: Annotated[Duration | None, BeforeValidator(none_text)] = Field(
        timedelta(minutes=1),
        description="how long a signer may go unused before a trial signature shows whether it still signs; "
        '"none": only after a failure',
    )

    @model_validator(mode="after")
    def _asks_each_once(self) -> Self:
        refuse_twice("checks", self.checks)
        return self
