"""Settings in another system's words, which hold where nothing of ours says anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tsa_core.values import Value


class Fallback(Value):
    """Settings below flags, TSA_... variables and tsa.toml.

    `values` is nested as tsa.toml is, `origins` has where a value came from, by the setting's path, and `file` is the
    configuration file that they were read from, None when there is none.
    """

    values: Mapping[str, Any] = MappingProxyType({})
    origins: Mapping[str, str] = MappingProxyType({})
    file: Path | None = None
