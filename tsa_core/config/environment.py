"""Variables of the environment that look like ours and would not be read: each is an error with the right name.

Of the names without `__`, those are left alone that Kubernetes sets in every pod for a service whose name begins with
`tsa`: TSA_PORT, TSA_SERVICE_HOST, TSA_SERVER_PORT=tcp://10.0.0.1:3000 and the like.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pydantic import BaseModel

from tsa_core.api.errors import ConfigError
from tsa_core.config.models import ProfileSettings
from tsa_core.config.sections import PluginSection

ENV_PREFIX = "TSA_"
CONFIG_VARIABLE = "TSA_CONFIG"

_PROFILES = "profiles"
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
_NEARLY_CONFIG = 0.82

Tables = Mapping[str, type[BaseModel] | None]
"""The settings tables by name; None for one that holds a table for each plugin and nothing else."""


def unknown_setting(path: str, known: Iterable[str]) -> str:
    """Return what to say of a setting that does not exist: with the nearest known one, or with all of them."""
    import difflib  # for mistakes alone

    names = sorted(known)
    near = difflib.get_close_matches(path.rpartition(".")[2], names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(names)}"
    return f"unknown setting {path}; {hint}"


def config_variable(environ: Mapping[str, str]) -> str | None:
    """Return what TSA_CONFIG names, None without it; raises ConfigError when it is empty.

    An empty one is what is left of a variable that was to name a file: to serve then with a key that is made at start
    would be the worst answer.
    """
    value = environ.get(CONFIG_VARIABLE)
    if value is not None and not value.strip():
        raise ConfigError(f"{CONFIG_VARIABLE} is set, but empty; let it name the configuration file, or unset it")
    return value


def refuse_unread_variables(environ: Mapping[str, str], tables: Tables) -> None:
    """Raise ConfigError for the first variable that names no setting, but looks as if it were meant to."""
    for name, value in environ.items():
        upper = name.upper()
        if not upper.startswith(ENV_PREFIX) or name == CONFIG_VARIABLE:
            continue
        rest = upper.removeprefix(ENV_PREFIX)
        if "__" in rest:
            _refuse_unknown(name, rest.lower(), tables)
        elif not _is_service_link(upper, value) and (right := _right_name(rest, tables)):
            raise ConfigError(f"the environment variable {name} is not read; {right} is")


def _refuse_unknown(name: str, path: str, tables: Tables) -> None:
    """Refuse a name with `__` whose first or second part is unknown."""
    first, _, rest = path.partition("__")
    if first not in tables:
        raise ConfigError(f"environment variable {name}: {unknown_setting(first, tables)}")
    model = tables[first]
    if first == _PROFILES:
        if "__" not in rest and (right := _profile_setting(rest)):
            raise ConfigError(f"the environment variable {name} is not read; {right} is")
    elif model is not None and not issubclass(model, PluginSection):
        key = rest.partition("__")[0]
        if key not in model.model_fields:
            raise ConfigError(f"environment variable {name}: {unknown_setting(f'{first}.{key}', model.model_fields)}")


def _is_service_link(name: str, value: str) -> bool:
    """Say whether Kubernetes sets such a variable for a service."""
    return _SERVICE_LINK.search(name) is not None or (
        name.endswith("_PORT") and _SERVICE_ADDRESS.match(value) is not None
    )


def _right_name(rest: str, tables: Tables) -> str | None:
    """Return the variable that is meant by a name with single underscores; None when it is none of ours."""
    import difflib  # for mistakes alone

    whole = ENV_PREFIX + rest
    if whole.startswith("TSA_CONF") or (difflib.SequenceMatcher(a=whole, b=CONFIG_VARIABLE).ratio() >= _NEARLY_CONFIG):
        return CONFIG_VARIABLE
    for table, model in tables.items():
        if not rest.startswith(f"{table.upper()}_"):
            continue
        key = rest.removeprefix(f"{table.upper()}_").lower()
        if table == _PROFILES:
            return _profile_setting(key)
        if model is not None and key in model.model_fields:
            return _variable(table, key)
        plugin, separator, setting = key.partition("_")
        if separator and (model is None or issubclass(model, PluginSection)):
            return _variable(table, plugin, setting)
    return None


def _profile_setting(key: str) -> str | None:
    """Return the variable that `default_signer` means: that of the setting `signer` of the profile `default`."""
    fits = [field for field in ProfileSettings.model_fields if key.endswith(f"_{field}")]
    if not fits:
        return None
    field = max(fits, key=len)
    return _variable(_PROFILES, key.removesuffix(f"_{field}"), field)


def _variable(*parts: str) -> str:
    return ENV_PREFIX + "__".join(parts).upper()
