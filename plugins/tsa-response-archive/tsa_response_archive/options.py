"""The settings of `[response.archive]`."""

from __future__ import annotations

from pydantic import Field

from tsa_core.api import ConfigPath, PluginOptions


class ArchiveOptions(PluginOptions):
    """`[response.archive]`."""

    directory: ConfigPath = Field(description="where the tokens are kept; made at start when it is missing")
    required: bool = Field(
        True, description="withhold a reply that could not be kept; false: log it and let the reply go"
    )
    sync: bool = Field(True, description="wait until the disk has it; false is faster and loses the last on a crash")
