"""Loads the settings from flags, environment, file and defaults, in this order of precedence."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, ValidationError, model_validator

from tsa_core.api.errors import ConfigError
from tsa_core.api.fields import relative_to
from tsa_core.api.files import read_file
from tsa_core.api.setting_errors import setting_error
from tsa_core.config.environment import (
    CONFIG_VARIABLE,
    config_variable,
    refuse_unread_variables,
    unknown_setting,
)
from tsa_core.config.fallback import Fallback
from tsa_core.config.layers import from_environment, merged
from tsa_core.config.log_and_metrics import LogSettings, MetricsSettings
from tsa_core.config.models import ProfileSettings, ServerSettings
from tsa_core.config.origins import Origins
from tsa_core.config.sections import (
    AuditSettings,
    ClockSettings,
    HealthSettings,
    MiddlewareSettings,
    ObserveSettings,
    PluginTable,
    PolicySettings,
    ResponseSettings,
    RoutesSettings,
)

__all__ = ["CONFIG_VARIABLE", "DEFAULT_PROFILE", "Settings", "load_settings"]

DEFAULT_PROFILE = "default"
MEMORY_SIGNER = "memory:"
"""The default profile's key when there is no configuration."""

_MAX_FILE_OCTETS = 4 * 1024 * 1024
_NOTHING = Fallback()
_FORMS = {
    "profiles": "is no name of a profile; write small letters, digits, - and _, at most 63",
    "socket_mode": 'is no mode; write three octal digits, "0660" for example',
    "public_url": "is no address; write https://tsa.example.org, and a path behind it where there is one",
    "request_id_header": "is no header's name; write letters, digits and hyphens",
}
"""What to say of texts that do not have the form of their setting."""
ProfileName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Settings(BaseModel):
    """All settings of the core. Frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)

    server: ServerSettings = Field(default_factory=ServerSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    clock: ClockSettings = Field(default_factory=ClockSettings)
    policy: PolicySettings = Field(default_factory=PolicySettings)
    response: ResponseSettings = Field(default_factory=ResponseSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    observe: ObserveSettings = Field(default_factory=ObserveSettings)
    health: HealthSettings = Field(default_factory=HealthSettings)
    routes: RoutesSettings = Field(default_factory=RoutesSettings)
    middleware: MiddlewareSettings = Field(default_factory=MiddlewareSettings)
    profiles: dict[ProfileName, ProfileSettings] = Field(default_factory=dict)
    signer: dict[str, PluginTable] = Field(default_factory=dict, repr=False)
    certificate_authority: dict[str, PluginTable] = Field(default_factory=dict, repr=False)
    certificate_signer: dict[str, PluginTable] = Field(default_factory=dict, repr=False)
    _base_directory: Path = PrivateAttr(default=Path())
    _config_file: Path | None = PrivateAttr(default=None)

    @property
    def tells_guards_of_certificates(self) -> bool:
        """Whether clients show certificates over TLS, and there are guards that learn whose: then waitress does TLS."""
        return self.server.tls_ca is not None and bool(self.middleware.guards)

    @model_validator(mode="after")
    def _measured_accuracy_is_measured(self) -> Self:
        measured = [name for name, profile in self.profiles.items() if profile.states_measured_accuracy]
        if not measured:
            return self
        clock, where = self.clock, f'profiles.{measured[0]}.accuracy = "measured"'
        if not clock.active_monitors and clock.source == ClockSettings.model_fields["source"].default:
            raise ValueError(f'{where} needs something that measures the clock; name it: [clock] monitors = ["ntp"]')
        if clock.on_failure == "warn":
            raise ValueError(
                f'{where} cannot be had with clock.on_failure = "warn": a clock that cannot be trusted '
                "has no measured accuracy"
            )
        if clock.widen_accuracy and len(measured) == len(self.profiles):
            raise ValueError('clock.widen_accuracy has no effect, because every profile has accuracy = "measured"')
        return self

    @model_validator(mode="after")
    def _waitress_does_tls_for_guards(self) -> Self:
        server = self.server
        if not self.tells_guards_of_certificates:
            return self
        if server.http2:
            raise ValueError(
                "server.http2 cannot be had with server.tls_ca and guards: they learn the clients' certificates from a "
                "listener for HTTP/1.1; leave http2 out, or let a proxy do TLS and pass the certificates on"
            )
        own_limits = ("tls_read_timeout", "tls_write_timeout", "tls_connection_limit")
        if server.engine == "waitress" and set(server.schemes) != {"https"}:
            for name in own_limits:
                if getattr(server, name) is not None:
                    raise ValueError(
                        f"server.{name} has no effect with server.tls_ca and guards, because one loop then serves all "
                        f'schemes; give {name.removeprefix("tls_")}, or serve the others with engine = "granian"'
                    )
        return self

    @model_validator(mode="after")
    def _tenants_need_guards(self) -> Self:
        if self.metrics.tenants and not (self.metrics.enabled and self.middleware.guards):
            raise ValueError(
                "metrics.tenants has no effect without metrics and [middleware] guards, which find the tenants out"
            )
        return self

    @model_validator(mode="after")
    def _each_path_is_one_profiles(self) -> Self:
        owners: dict[str, str] = {}
        for name, profile in self.profiles.items():
            for path in profile.paths:
                if path in owners:
                    raise ValueError(
                        f"profiles.{owners[path]}.paths and profiles.{name}.paths both have {path!r}, "
                        "but one profile answers there; take it out of one of them"
                    )
                owners[path] = name
        return self

    @property
    def base_directory(self) -> Path:
        """The base of relative paths: the configuration file's directory, else the working directory."""
        return self._base_directory

    @property
    def config_file(self) -> Path | None:
        """The configuration file, None when there is none."""
        return self._config_file


def load_settings(
    config: Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    flag_names: Mapping[str, str] = MappingProxyType({}),
    environ: Mapping[str, str] | None = None,
    whole: bool = True,
    fallback: Fallback = _NOTHING,
) -> Settings:
    """Return the settings; raises ConfigError with one line for each error.

    `config` is the configuration file, by default the one that TSA_CONFIG names. `overrides` are the flags as a nested
    dict, `flag_names` what they are called, by the setting's path. Without any configuration of profiles, the default
    profile uses the memory signer. A configuration file that names no signer is an error: the settings never fall back
    to a key that is lost at the end. When `whole` is false, profiles may be missing; commands that need only plugins'
    tables use that. `fallback` counts least; where it comes from a file, TSA_CONFIG named that.
    """
    environ = os.environ if environ is None else environ
    if config is None and fallback.file is None and (named := config_variable(environ)):
        config = Path(named)
    file = _read_file(config) if config else {}
    flags = dict(overrides or {})
    origins = Origins(flags=flags, flag_names=flag_names, environ=environ, file=file, config=config, fallback=fallback)
    refuse_unread_variables(environ, {name: _model_of(name) for name in Settings.model_fields})
    made_at_start = config is None and fallback.file is None and not _names_profiles((flags, fallback.values), environ)
    if made_at_start:
        profile = flags.setdefault("profiles", {}).setdefault(DEFAULT_PROFILE, {})
        profile.setdefault("signer", MEMORY_SIGNER)
    try:
        base_directory = config.parent if config else Path()
        with relative_to(base_directory):
            settings = Settings.model_validate(
                merged(
                    {table: {} for table in _SECTIONS},
                    fallback.values,
                    file,
                    from_environment(environ, Settings.model_fields),
                    flags,
                )
            )
        settings._base_directory = base_directory
        settings._config_file = config or fallback.file
    except ValidationError as error:
        raise ConfigError(_explain(error, origins)) from None
    if whole:
        if made_at_start and not settings.server.trial_key:
            raise ConfigError(
                "no signer is configured, and TSA_SERVER__TRIAL_KEY=false, as in the container image, forbids a key "
                "that is made at start; name a configuration file (--config, TSA_CONFIG), or ask for such a key by "
                "name: --timestamp-signer memory"
            )
        if "trial_key" in file.get("server", {}):
            raise ConfigError(
                "has no effect in a file, which must name its signers anyway; it is for the environment: "
                "TSA_SERVER__TRIAL_KEY",
                path=f"{config}: server.trial_key",
            )
        for message in _contradictions(settings):
            raise ConfigError(message, path=origins.of((), message) or None)
    return settings


def _names_profiles(layers: Iterable[Mapping[str, Any]], environ: Mapping[str, str]) -> bool:
    """Say whether one of the layers of settings, or the environment, chooses a signer."""
    if any("signer" in profile for layer in layers for profile in layer.get("profiles", {}).values()):
        return True
    return any(re.fullmatch(r"TSA_PROFILES__.+__SIGNER", name.upper()) for name in environ)


def _read_file(path: Path) -> dict[str, Any]:
    data = read_file(path, "configuration file", limit=_MAX_FILE_OCTETS)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        text = f"the configuration file is not TOML: {reason}"
        if path.suffix in {".yaml", ".yml", ".json"}:
            text = (
                "serve and check read such a file, in the words of Sigstore's server; all else needs tsa.toml, which "
                f"`timestamp-server migrate {path.name}` prints"
            )
        raise ConfigError(text, path=str(path)) from None


def _contradictions(settings: Settings) -> Iterator[str]:
    """Yield what is missing in settings that each table allows, and what has no effect."""
    if not settings.profiles:
        yield 'no profile is configured; write [profiles.default] with signer = "KEY URI"'
    if DEFAULT_PROFILE not in settings.profiles:
        yield (
            f"there is no [profiles.{DEFAULT_PROFILE}], which answers at /api/v1/timestamp; "
            f"it has: {', '.join(settings.profiles)}"
        )
    clock = settings.clock
    if not clock.monitors and clock.source == ClockSettings.model_fields["source"].default:
        for setting in ("max_holdover", "max_verdict_age", "widen_accuracy"):
            if getattr(clock, setting) != ClockSettings.model_fields[setting].default:
                yield (
                    f"clock.{setting} has no effect, because nothing measures the clock; name what does: "
                    '[clock] monitors = ["ntp"]'
                )
    if clock.active_monitors and clock.unmonitored_step != ClockSettings.model_fields["unmonitored_step"].default:
        yield (
            "clock.unmonitored_step has no effect, because monitors measure the clock; clock.on_failure says what "
            "happens when they distrust it"
        )
    ordered = [name for name, profile in settings.profiles.items() if profile.ordering]
    if ordered and settings.server.workers > 1:
        yield (
            f"profiles.{ordered[0]}.ordering = true needs server.workers = 1: several processes cannot promise that "
            "their times increase; leave ordering out, or serve with one process"
        )
    for section, core in (
        ("clock", settings.clock),
        ("policy", settings.policy),
        ("response", settings.response),
        ("audit", settings.audit),
        ("observe", settings.observe),
        ("health", settings.health),
        ("routes", settings.routes),
        ("middleware", settings.middleware),
    ):
        for name, table in (core.__pydantic_extra__ or {}).items():
            if not isinstance(table, dict):
                yield unknown_setting(f"{section}.{name}", type(core).model_fields)


def _table_model(path: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the model of the table at `path`."""
    if path and path[0] == "profiles" and len(path) > 1:
        return ProfileSettings
    return (_model_of(str(path[0])) if path else None) or Settings


def _model_of(table: str) -> type[BaseModel] | None:
    """Return the model of a table of the core; None for one that holds tables by name."""
    annotation = Settings.model_fields[table].annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


_SECTIONS: Final = tuple(name for name in Settings.model_fields if _model_of(name))
"""The tables that have a model. Those that nothing gives are read as empty: a default would build each model again."""


def _explain(error: ValidationError, origins: Origins) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        location = tuple(part for part in problem["loc"] if part != "[key]")
        # A name in quotes may have any character; each error stays one line.
        path = "".join(c if c.isprintable() else "?" for c in ".".join(map(str, location)))
        if problem["type"] == "extra_forbidden":
            said = message = unknown_setting(path, _table_model(location[:-1]).model_fields)
        elif problem["type"] == "missing":
            description = ""
            model = _table_model(location[:-1])
            if field := model.model_fields.get(str(location[-1])):
                description = f" ({field.description})" if field.description else ""
            said = message = f"{path} is missing{description}"
        else:
            form = _FORMS.get(
                "profiles" if location[:-1] == ("profiles",) else str(location[-1:][0] if location else "")
            )
            wrong = problem["type"] == "string_pattern_mismatch" and form
            said = form if wrong and form else setting_error(problem)
            # What two tables contradict each other in names both itself.
            message = f"{path}: {said}" if path else said
        origin = origins.of(location, said)
        lines.append(f"{origin}: {message}" if origin else message)
    return "\n".join(lines)
