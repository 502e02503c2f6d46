"""The settings of `[clock.ntp]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from tsa_core.api import TextList, resolve_path
from tsa_core.api.ntp.options import RoundOptions

BUILT_IN_FILE = "default"


def _resolve(value: str) -> str:
    return value if value == BUILT_IN_FILE else str(resolve_path(Path(value)))


class NtpOptions(RoundOptions):
    """`[clock.ntp]`: the keys of the reference system's YAML file, and a few more."""

    file: Annotated[str, AfterValidator(_resolve)] | None = Field(
        None, description="a YAML file as Sigstore's TSA has it, or 'default' for its servers; keys given here win"
    )
    servers: TextList = Field(default_factory=list, description="time servers: NAME, NAME:PORT or [IPv6]:PORT")
