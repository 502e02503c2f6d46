"""The reference system's YAML file."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tsa_core.api import ConfigError, read_file
from tsa_core.api.ntp.options import check_rounds
from tsa_core.api.setting_errors import setting_error
from tsa_monitor_ntp.options import BUILT_IN_FILE, NtpOptions

_MAX_FILE_OCTETS = 256 * 1024
_SECTION = "clock.ntp"
_FILE_KEYS = (
    "request_attempts",
    "request_timeout",
    "num_servers",
    "server_threshold",
    "max_time_delta",
    "period",
    "servers",
)
_BUILT_IN: dict[str, Any] = {
    "servers": [
        "time.apple.com",
        "time.google.com",
        "time1.google.com",
        "time2.google.com",
        "time3.google.com",
        "time4.google.com",
    ]
}


def effective_options(options: NtpOptions) -> NtpOptions:
    """Return the options with those of the file below them; raises ConfigError for what cannot work."""
    if options.file is not None:
        given = {name: getattr(options, name) for name in options.model_fields_set}
        base = _BUILT_IN if options.file == BUILT_IN_FILE else _read_file(Path(options.file))
        try:
            options = NtpOptions.model_validate({**base, **given})
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            key = ".".join(map(str, problem["loc"]))
            raise ConfigError(f"{key}: {setting_error(problem)}", path=options.file) from None
    where = options.file if options.file not in {None, BUILT_IN_FILE} else _SECTION
    check_rounds(options, options.servers, where=where)
    return options


def _read_file(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(read_file(path, "NTP settings", limit=_MAX_FILE_OCTETS))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"the NTP settings are not YAML: {' '.join(str(error).split())}", path=str(path)) from None
    if not isinstance(document, dict):
        raise ConfigError(f"the NTP settings must be keys and values: {', '.join(_FILE_KEYS)}", path=str(path))
    for key in document:
        if key not in _FILE_KEYS:
            near = difflib.get_close_matches(str(key), _FILE_KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(_FILE_KEYS)}"
            raise ConfigError(f"unknown key {key!r}; {hint}", path=str(path))
    # A key without a value is one that is missing.
    return {key: value for key, value in document.items() if value is not None}
