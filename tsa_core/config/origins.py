"""Says where a wrong setting came from: a flag, a variable or a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tsa_core.config.environment import ENV_PREFIX
from tsa_core.config.fallback import Fallback
from tsa_core.values import Value

_NAME = re.compile(r"\w+(?:\.\w+)*")


class Origins(Value):
    """What each way gave: nested settings of flags and file, variables by name, and the names of flags by setting."""

    flags: Mapping[str, Any]
    flag_names: Mapping[str, str]
    environ: Mapping[str, str]
    file: Mapping[str, Any]
    config: Path | None
    fallback: Fallback

    def of(self, location: tuple[int | str, ...], message: str) -> str:
        """Return where the value at `location` came from; the file when nothing gave it.

        What contradicts another setting is said of the table of both: then it is the first setting that `message`
        names and that was given. A list is given as a whole.
        """
        path = tuple(part for part in location if isinstance(part, str))
        if origin := self._of_value(path):
            return origin
        for name in _NAME.findall(message):
            if origin := self._of_value((*path, *name.split("."))):
                return origin
        return str(self.config or self.fallback.file or "")

    def _of_value(self, path: tuple[str, ...]) -> str:
        """Return where one value came from; empty when nothing gave it, or when it is a table."""
        setting = ".".join(path)
        if _is_value(self.flags, path):
            return f"command line: {self.flag_names.get(setting, '')}".rstrip(": ")
        variable = f"{ENV_PREFIX}{'__'.join(path)}".upper()
        if any(name.upper() == variable for name in self.environ):
            return f"environment variable {variable}"
        if _is_value(self.file, path):
            return str(self.config)
        return self.fallback.origins.get(setting, "")


def _is_value(table: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(table, Mapping) or part not in table:
            return False
        table = table[part]
    return not isinstance(table, Mapping)
