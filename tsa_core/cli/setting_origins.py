"""Every effective setting, the core's and the selected plugins', and where its value came from.

No secret is among them: those have their place instead, `{ env = "NAME" }`, or nothing but that they are set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from tsa_core.api import Provider, TsaError
from tsa_core.cli.plugin_settings import Secrets, describe_settings, toml_text
from tsa_core.cli.reference_settings import Loaded
from tsa_core.cli.settings_flags import flag_names
from tsa_core.config.load import MEMORY_SIGNER
from tsa_core.config.sections import PluginSection
from tsa_core.config.toml_lines import setting_lines
from tsa_core.host import (
    AUDIT_SINK,
    CLOCK,
    CLOCK_MONITOR,
    HEALTH_CHECK,
    OBSERVER,
    POLICY_SELECTOR,
    RESPONSE_PROCESSOR,
    SIGNER,
    Kind,
    PluginHost,
)
from tsa_core.secret_parts import HIDDEN, without_secret_parts

DEFAULT: Final = "default"
_NOT_SET: Final = "(not set)"


@dataclass(frozen=True, kw_only=True)
class EffectiveSetting:
    """One setting: its path, its value as TOML writes it, and its origin.

    The origin is `default`, `FILE:LINE`, `environment variable NAME` or `command line: --FLAG`.
    """

    path: str
    value: str
    origin: str


class Origins:
    """Says of each path where its value came from."""

    def __init__(self, loaded: Loaded, environ: Mapping[str, str]) -> None:
        self._loaded = loaded
        self._variables = {name.upper(): name for name in environ}
        self._flags = flag_names(loaded.flags)
        self._lines = _lines_of(loaded.toml)

    def of(self, path: str) -> str:
        """Return the origin of a setting."""
        parts = path.split(".")
        if _has(self._loaded.overrides, parts):
            return f"command line: {self._flags.get(path, '')}".rstrip(": ")
        for length in range(len(parts), 1, -1):
            if name := self._variables.get(f"TSA_{'__'.join(parts[:length])}".upper()):
                return f"environment variable {name}"
        for length in range(len(parts), 0, -1):
            if line := self._lines.get(".".join(parts[:length])):
                return f"{self._loaded.toml}:{line}"
        return self._loaded.fallback.origins.get(path, DEFAULT)


def effective_settings(loaded: Loaded) -> list[EffectiveSetting]:
    """Return every setting in the order of the documentation, those of the selected plugins after their section's."""
    origins = Origins(loaded, os.environ)
    host = PluginHost.for_settings(loaded.settings)
    rows = []
    for path, value in _values(loaded, host):
        origin = origins.of(path)
        if path == "profiles.default.signer" and origin == DEFAULT and value == toml_text(MEMORY_SIGNER):
            origin = "default, because nothing names a signer"
        rows.append(EffectiveSetting(path=path, value=value, origin=origin))
    return rows


def _values(loaded: Loaded, host: PluginHost) -> Iterator[tuple[str, str]]:
    settings = loaded.settings
    for name in type(settings).model_fields:
        section = getattr(settings, name)
        if isinstance(section, BaseModel):
            yield from _of_model(name, section)
        if isinstance(section, PluginSection):
            for kind, plugin in _selected(name, section):
                yield from _of_plugin(host, kind, plugin, section.plugin_table(plugin))
    for name, profile in settings.profiles.items():
        yield from _of_model(f"profiles.{name}", profile)
        for key in profile.signer_options:
            yield f"profiles.{name}.signer_options.{key}", HIDDEN
    for scheme in dict.fromkeys(profile.scheme for profile in settings.profiles.values()):
        yield from _of_plugin(host, SIGNER, scheme, settings.signer.get(scheme, {}))


def _of_model(path: str, model: BaseModel) -> Iterator[tuple[str, str]]:
    fields = set(type(model).model_fields) - {"signer_options"}
    dumped = model.model_dump(mode="json", include=fields)
    for name in type(model).model_fields:
        if name in fields:
            yield f"{path}.{name}", _shown(dumped[name])


def _shown(value: Any) -> str:
    return _NOT_SET if value is None else without_secret_parts(toml_text(value))


_LISTS: Final[Mapping[str, Sequence[tuple[Kind[Any], str]]]] = {
    "clock": ((CLOCK, "source"), (CLOCK_MONITOR, "active_monitors")),
    "policy": ((POLICY_SELECTOR, "selectors"),),
    "response": ((RESPONSE_PROCESSOR, "processors"),),
    "audit": ((AUDIT_SINK, "sinks"),),
    "observe": ((OBSERVER, "observers"),),
    "health": ((HEALTH_CHECK, "checks"),),
}
"""How each section selects plugins, and of which kind."""


def _selected(name: str, section: PluginSection) -> Iterator[tuple[Kind[Any], str]]:
    for kind, setting in _LISTS.get(name, ()):
        names = getattr(section, setting)
        for plugin in dict.fromkeys([names] if isinstance(names, str) else names):
            yield kind, plugin


def _of_plugin(host: PluginHost, kind: Kind[Any], name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the settings of a plugin; of one that cannot be loaded, those that are given, without their values."""
    prefix = kind.table(name)
    try:
        provider: Provider[Any] = host.provider(kind, name)
        described = describe_settings(provider)
    except TsaError:
        yield from ((f"{prefix}.{key}", HIDDEN) for key in table)
        return
    secrets = {setting.name: setting.secrets for setting in described if setting.secrets}
    for setting in described:
        value = _find(table, setting.name.split("."))
        if value is not None:
            yield f"{prefix}.{setting.name}", _without_secrets(value, setting.name, secrets)
        elif "." not in setting.name:
            yield f"{prefix}.{setting.name}", setting.default or _NOT_SET


def _without_secrets(value: Any, name: str, secrets: Mapping[str, Secrets]) -> str:
    where = secrets.get(name, "")
    if where == "values" and isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_secret(inner)}' for key, inner in value.items())} }}"
    if where:
        return _secret(value)
    if isinstance(value, dict):
        rows = (f"{key} = {_without_secrets(inner, f'{name}.{key}', secrets)}" for key, inner in value.items())
        return f"{{ {', '.join(rows)} }}"
    if isinstance(value, list):
        return f"[{', '.join(_without_secrets(inner, name, secrets) for inner in value)}]"
    return _shown(value)


def _secret(value: Any) -> str:
    """Return what is shown in place of a secret: where it is, is none."""
    return toml_text(value) if isinstance(value, dict) and set(value) <= {"env", "file"} else HIDDEN


def _find(table: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        if not isinstance(table, Mapping) or part not in table:
            return None
        table = table[part]
    return table


def _has(table: Any, parts: Sequence[str]) -> bool:
    return _find(table, parts) is not None


def _lines_of(toml: Path | None) -> dict[str, int]:
    if toml is None:
        return {}
    try:
        return setting_lines(toml.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
