"""Settings in another system's words, which hold where nothing of ours says anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Fallback:
    """Settings below flags, TSA_... variables and tsa.toml.

    `values` is nested as tsa.toml is, `origins` has where a value came from, by the setting's path, and `file` is the
    configuration file that they were read from, None when there is none.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
