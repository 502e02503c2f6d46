"""Settings as Sigstore's timestamp server takes them: its configuration files and its variables, read as flags.

Both count less than what is ours: flags, then TSA_... variables, then tsa.toml; then its variables, then its file.
"""

from __future__ import annotations

import copy
import os
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import click

from tsa_core.api import ConfigError
from tsa_core.cli.flag_table import FLAGS
from tsa_core.cli.reference_file import find_file, reference_document
from tsa_core.cli.settings_flags import SETTING_PARAMETERS, flag_names, flag_options, overrides, signer_parameters
from tsa_core.cli.strict_flags import read_strictly
from tsa_core.config import CONFIG_VARIABLE, Fallback, Settings, load_settings
from tsa_core.values import Value

_ADDRESSES: Final = {"HOST": "host", "PORT": "port", "SCHEME": "scheme"}
_TLS: Final = {
    "TLS_HOST": "tls-host",
    "TLS_PORT": "tls-port",
    "TLS_CERTIFICATE": "tls-certificate",
    "TLS_PRIVATE_KEY": "tls-key",
    "TLS_CA_CERTIFICATE": "tls-ca",
}
"""Variables of Sigstore's server whose names are not those of its flags."""


@cache
def all_flags() -> click.Command:
    """Return the command that parses flags which stand in a file or in a variable; it does nothing else."""

    @click.command("flags")
    @flag_options
    def flags(**_: Any) -> None:
        pass

    return read_strictly(flags)


FLAG_NAMES: Final = frozenset(
    {name.replace("_", "-") for parameters in SETTING_PARAMETERS.values() for name in parameters}
    | {alias.removeprefix("--") for flag in FLAGS for alias in flag.aliases}
)


class Loaded(Value):
    """Settings, lines about what they were read from beside what is ours, and what they were made of.

    `flags` are the parameters that were given, `overrides` the settings that these make, `toml` the tsa.toml that was
    read, None for none, and `fallback` what counts least.
    """

    settings: Settings
    notes: list[str]
    flags: Mapping[str, Any]
    overrides: Mapping[str, Any]
    toml: Path | None
    fallback: Fallback


class _Given:
    """Parameters that a file or variables give, and where each comes from."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}
        self.origins: dict[str, str] = {}

    def put(self, flag: str, text: str, origin: str) -> str:
        """Add what a flag of this name would mean; returns the parameter. Raises ConfigError for a wrong value."""
        found = _parse(flag, text, origin)
        self.parameters |= found
        self.origins |= dict.fromkeys(found, origin)
        return next(iter(found))


def load(parameters: Mapping[str, Any]) -> Loaded:
    """Return the settings that a command's parameters, the environment and a configuration file mean.

    `parameters` are those of `settings_options`. Raises ConfigError, and UsageError for flags that need each other.
    """
    environ = os.environ
    flags = given_flags(parameters)
    config, notes = parameters.get("config"), []
    if config is None and CONFIG_VARIABLE not in environ and (config := find_file(environ)):
        notes.append(f"settings are read from {config}, as Sigstore's server does; --config names another file")
    document = reference_document(config, FLAG_NAMES) if config is not None else None
    toml = config if document is None else None
    lower = _Given()
    for flag, text in (document or {}).items():
        lower.put(flag, text, f"{config}: {flag}")
    # What a tsa.toml says is ours, so that a variable which others set as well does not reach behind it.
    ours = _tables(toml) if toml else {}
    notes += _read_variables(lower, environ, flags, ours)
    values, fallback = _layers(flags, lower, file=config if document is not None else None)
    if document is not None and not _has_signer(values, fallback, environ):
        raise ConfigError(
            "names no signer; add timestamp-signer: kms, file or tink, or memory for a key that is made at every start",
            path=str(config),
        )
    settings = load_settings(toml, overrides=copy.deepcopy(values), flag_names=flag_names(flags), fallback=fallback)
    return Loaded(
        settings=settings,
        notes=notes,
        flags=flags,
        overrides=values,
        toml=settings.config_file if document is None else None,
        fallback=fallback,
    )


def given_flags(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of flags that were given, without --config."""
    return {name: value for name, value in parameters.items() if name != "config" and value not in (None, ())}


def file_flags(path: Path) -> dict[str, Any]:
    """Return the parameters that a configuration file of Sigstore's server gives; raises ConfigError for another."""
    document = reference_document(path, FLAG_NAMES)
    if document is None:
        raise ConfigError("this is a tsa.toml already; there is nothing to migrate", path=str(path))
    found = _Given()
    for flag, text in document.items():
        found.put(flag, text, f"{path}: {flag}")
    return found.parameters


def merged(flags: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with the flags over the others; a signer that the flags choose drops the others' keys."""
    signer = flags.get("timestamp_signer")
    dropped = signer_parameters(other_than=signer) if signer else frozenset()
    return {**{name: value for name, value in lower.items() if name not in dropped}, **flags}


def _parse(flag: str, text: str, origin: str) -> dict[str, Any]:
    try:
        context = all_flags().make_context("flags", [f"--{flag}={text}"])
    except click.UsageError as error:
        # A value may be a secret; click quotes those of numbers and choices alone.
        raise ConfigError(error.format_message(), path=origin) from None
    return given_flags(context.params)


def _tables(toml: Path) -> dict[str, Any]:
    """Return what a tsa.toml says; nothing for one that cannot be read, which load_settings complains of."""
    try:
        return tomllib.loads(toml.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _read_variables(
    lower: _Given, environ: Mapping[str, str], flags: Mapping[str, Any], ours: Mapping[str, Any]
) -> Iterator[str]:
    """Add what Sigstore's variables mean where nothing of ours is said; yield a line for each that is read."""
    for variable, flag in _variables(environ, with_flags=not ours):
        if variable in _TLS and not _serves_https(lower, environ, flags, ours):
            yield f"the variable {variable} is not read, because nothing serves https"
            continue
        parameter = flag.replace("-", "_")
        if parameter in flags or _said_by_us(parameter, environ, ours):
            continue
        # Its lists are separated by spaces there.
        text = ",".join(environ[variable].split()) if flag in {"scheme", "accepted-policy-oids"} else environ[variable]
        lower.put(flag, text, f"environment variable {variable}")
        own = _own_variable(parameter)
        yield f"the variable {variable} gives --{flag}, as for Sigstore's server; {own} goes before it"


def _variables(environ: Mapping[str, str], *, with_flags: bool) -> Iterator[tuple[str, str]]:
    """Yield the variables that are set, and the flag of each; `with_flags` those that are called as a flag."""
    names = {**_ADDRESSES, **_TLS}
    if with_flags:
        names |= {flag.upper(): flag for flag in sorted(FLAG_NAMES) if "-" in flag}
    yield from ((variable, flag) for variable, flag in names.items() if environ.get(variable))


def _serves_https(lower: _Given, environ: Mapping[str, str], flags: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    layers = (
        flags.get("scheme"),
        environ.get(_own_variable("scheme")),
        ours.get("server", {}).get("schemes"),
        lower.parameters.get("scheme"),
    )
    schemes = next((layer for layer in layers if layer), ())
    return "https" in (schemes if isinstance(schemes, str) else ",".join(map(str, schemes)))


def _said_by_us(parameter: str, environ: Mapping[str, str], ours: Mapping[str, Any]) -> bool:
    """Say whether a TSA_... variable or tsa.toml gives the setting of a flag."""
    if any(name.upper() == _own_variable(parameter) for name in environ):
        return True
    value: Any = ours
    for part in _setting(parameter).split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def _setting(parameter: str) -> str:
    """Return the setting that a flag gives, the first of several."""
    return next(setting for setting, names in SETTING_PARAMETERS.items() if parameter in names)


def _own_variable(parameter: str) -> str:
    return f"TSA_{_setting(parameter).replace('.', '__')}".upper()


def _layers(flags: dict[str, Any], lower: _Given, *, file: Path | None) -> tuple[dict[str, Any], Fallback]:
    """Return the settings that a flag has a part in, and the others as the fallback."""
    values = overrides(merged(flags, lower.parameters))
    high: dict[str, Any] = {}
    low: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for setting, parameters in SETTING_PARAMETERS.items():
        *tables, key = setting.split(".")
        table: Any = values
        for part in tables:
            table = table.get(part, {})
        if key not in table:
            continue
        by_flag = any(name in flags for name in parameters)
        target = high if by_flag else low
        for part in tables:
            target = target.setdefault(part, {})
        target[key] = table[key]
        if not by_flag:
            origins[setting] = next(lower.origins[name] for name in parameters if name in lower.origins)
    return high, Fallback(values=low, origins=origins, file=file)


def _has_signer(values: Mapping[str, Any], fallback: Fallback, environ: Mapping[str, str]) -> bool:
    profiles = [layer.get("profiles", {}).get("default", {}) for layer in (values, fallback.values)]
    return any("signer" in profile for profile in profiles) or "TSA_PROFILES__DEFAULT__SIGNER" in environ
