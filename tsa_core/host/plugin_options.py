"""Validates the settings of one plugin against the model that it gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from tsa_core.api import ConfigError, PluginOptions, Provider
from tsa_core.api.provider import fields_of_the_core
from tsa_core.api.setting_errors import setting_error
from tsa_core.host.discovery import InstalledPlugin
from tsa_core.host.loading import ask_plugin


def validated(
    provider: Provider[Any],
    table: Mapping[str, Any],
    *,
    fixed: Mapping[str, Any],
    prefix: str,
    plugin: InstalledPlugin | None,
    seconds: float,
) -> PluginOptions:
    """Return a table's settings, with those that the core fills in; raises ConfigError with a line for each error.

    It is a PluginError where the plugin's own look at them fails or hangs. `prefix` stands before the settings' names
    in messages.
    """
    known = sorted(set(provider.options.model_fields) - fields_of_the_core(provider.options))
    for key in table:
        if key not in known:
            import difflib  # for mistakes alone

            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known) or 'none'}"
            raise ConfigError(f"unknown setting {prefix}{key}; {hint}")

    def validate() -> PluginOptions:
        try:
            return provider.options.model_validate({**table, **fixed})
        except ValidationError as error:
            raise ConfigError("\n".join(_errors(error, prefix))) from None

    what = f"the plugin {plugin.label if plugin else provider.name}"
    asked = "its look at the settings"
    return ask_plugin(validate, what=what, asked=asked, name=provider.name, plugin=plugin, seconds=seconds)


def _errors(error: ValidationError, prefix: str) -> Iterable[str]:
    for problem in error.errors(include_url=False, include_input=False):
        name = ".".join(map(str, problem["loc"]))
        yield f"{f'{prefix}{name}'.rstrip('.')}: {setting_error(problem)}"
